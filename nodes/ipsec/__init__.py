"""Protection of the signalling between LMA and MAGs (RFC 5213 section 4)."""
