"""Sequence numbers of messages that the LMA sends on its own and that are acknowledged."""

from __future__ import annotations

import random
from collections.abc import Container

SEQUENCE_MODULUS = 0x10000


class SequenceNumbers:
    """They begin at random and count on. No two outstanding messages have the same one (RFC 7077
    section 4.1, RFC 5846 section 5.1)."""

    def __init__(self, rng: random.Random) -> None:
        self.next = rng.randrange(SEQUENCE_MODULUS)

    def allocate(self, outstanding: Container[int]) -> int:
        while self.next in outstanding:
            self.next = (self.next + 1) % SEQUENCE_MODULUS
        number = self.next
        self.next = (number + 1) % SEQUENCE_MODULUS
        return number
