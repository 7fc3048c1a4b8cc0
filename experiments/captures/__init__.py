"""Packets on their way into files and out again: rings, filters, pcapng, frames as columns."""
