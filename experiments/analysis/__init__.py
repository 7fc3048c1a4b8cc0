"""From the captures and events of a run to what became of its packets, flows and moves."""
