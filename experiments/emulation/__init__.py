"""A run, carried out: network, nodes, traffic and events, in a guest of either kind or on a host.

What is here starts within a guest, so it stays light in memory and quick to import.
"""
