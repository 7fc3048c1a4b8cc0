"""IPv6 packets from their fragments (RFC 8200 section 4.5), as far as captures need it."""

from __future__ import annotations

from typing import NamedTuple

FRAGMENT = 44
IPV6_OCTETS, HEADER_OCTETS = 40, 8
_NEXT_HEADER, _OFFSET_BITS, _MORE = 6, 0xFFF8, 1


class Whole(NamedTuple):
    """A packet, and what its pieces had on the link, in octets."""

    packet: bytes
    octets: int


class Reassembly:
    """Of packets in order of their capture. Those whose pieces aren't all there never come; of
    pieces that overlap, the last counts: whoever reads a capture wants to see something."""

    def __init__(self) -> None:
        self._pieces: dict[bytes, dict[int, tuple[bytes, bool]]] = {}
        self._octets: dict[bytes, int] = {}

    def add(self, packet: bytes, octets: int) -> Whole | None:
        """What is whole with this packet, which has `octets` on the link: itself, if it is no
        fragment behind its first header."""
        start = IPV6_OCTETS + HEADER_OCTETS
        if len(packet) < start or packet[_NEXT_HEADER] != FRAGMENT:
            return Whole(packet, octets)
        header = packet[IPV6_OCTETS:start]
        place = int.from_bytes(header[2:4], "big")
        # Source, destination, identification: what all pieces have the same.
        key = packet[8:IPV6_OCTETS] + header[4:]
        end = IPV6_OCTETS + int.from_bytes(packet[4:6], "big")
        pieces = self._pieces.setdefault(key, {})
        pieces[place & _OFFSET_BITS] = packet[start:end], bool(place & _MORE)
        self._octets[key] = self._octets.get(key, 0) + octets
        payload = _joined(pieces)
        if payload is None:
            return None
        del self._pieces[key]
        length = len(payload).to_bytes(2, "big")
        first = packet[:4] + length + header[:1] + packet[7:IPV6_OCTETS]
        return Whole(first + payload, self._octets.pop(key))


def _joined(pieces: dict[int, tuple[bytes, bool]]) -> bytes | None:
    """All of them, if there are all."""
    payload, more = b"", True
    while more:
        piece = pieces.get(len(payload))
        if piece is None or not piece[0]:
            return None
        payload, more = payload + piece[0], piece[1]
    return payload
