"""Removing the copies of packets at a mobile node that gets them over several accesses.

A flow with several bindings has a copy of each packet sent to each (RFC 6089 section 5.3.6), and no
RFC says who removes them. Packets don't say that they are copies, either: their octets do, but for
the hop limit and the traffic class, which the paths may change. A sender may send the same octets
again on purpose; so the n-th packet of the same octets on an access is a copy if another access has
had n of them, and one more is not.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from hashlib import blake2b

_ADDRESSES = 8  # the offset of the source address, behind payload length, next header, hop limit


class DuplicateRemoval:
    """Remembers packets for `window_s` after the first of their octets, and `most` at a time."""

    def __init__(self, window_s: float = 2.0, most: int = 65_536) -> None:
        self._window_s = window_s
        self._most = most
        self._seen: OrderedDict[bytes, tuple[float, defaultdict[int, int]]] = OrderedDict()
        self.removed = 0

    def is_copy(self, packet: bytes, interface: int, now: float) -> bool:
        """Whether an IPv6 packet that came by `interface` at `now` (monotonic s) came by another
        before. Call it once a packet: it counts them."""
        while self._seen and next(iter(self._seen.values()))[0] + self._window_s <= now:
            self._seen.popitem(last=False)
        identity = blake2b(packet[4:7] + packet[_ADDRESSES:], digest_size=16).digest()
        _, counts = self._seen.setdefault(identity, (now, defaultdict(int)))
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)
        counts[interface] += 1
        mine = counts[interface]
        copy = any(count >= mine for other, count in counts.items() if other != interface)
        self.removed += copy
        return copy
