"""What is in captured ESP packets, for those who have the keys (RFC 4303, RFC 4106)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nodes.ipsec.security_associations import SALT_OCTETS, SecurityAssociation, parse_table

NEXT_HEADER = 50
IPV6_OCTETS = 40
# RFC 4303 section 2: SPI and sequence number, which are authenticated; RFC 4106 section 3: then an
# initialization vector, and at the end the Integrity Check Value.
HEADER_OCTETS, IV_OCTETS, ICV_OCTETS, TRAILER_OCTETS = 8, 8, 16, 2


class Opened(NamedTuple):
    """A payload without its padding, and what it is."""

    next_header: int
    payload: bytes


class EspKeys:
    """Opens ESP packets of known security associations. Sequence numbers aren't looked at: a
    capture has what was on the link, replays as well."""

    def __init__(self, associations: Iterable[SecurityAssociation]) -> None:
        # RFC 4301 section 4.1: SPI and destination say which it is.
        self._known = {
            (sa.destination, sa.spi): (AESGCM(sa.key[:-SALT_OCTETS]), sa.key[-SALT_OCTETS:])
            for sa in associations
        }

    @classmethod
    def of_file(cls, path: Path) -> EspKeys:
        """Keys as Wireshark has them. Raises InputError and OSError."""
        return cls(parse_table(path.read_text(encoding="utf-8"), str(path)))

    def open(self, destination: IPv6Address, packet: bytes) -> Opened | None:
        """`packet`: the ESP header and what follows. None for one of another association, or that
        isn't whole and unchanged."""
        if len(packet) < HEADER_OCTETS + IV_OCTETS + ICV_OCTETS + TRAILER_OCTETS:
            return None
        known = self._known.get((destination, int.from_bytes(packet[:4], "big")))
        if known is None:
            return None
        cipher, salt = known
        header, sealed = packet[:HEADER_OCTETS], packet[HEADER_OCTETS + IV_OCTETS :]
        nonce = salt + packet[HEADER_OCTETS : HEADER_OCTETS + IV_OCTETS]
        try:
            plain = cipher.decrypt(nonce, sealed, header)
        except InvalidTag:
            return None
        padding, next_header = plain[-TRAILER_OCTETS:]
        if padding + TRAILER_OCTETS > len(plain):
            return None
        return Opened(next_header, plain[: len(plain) - TRAILER_OCTETS - padding])

    def reveal(self, packet: bytes) -> bytes:
        """An IPv6 packet as it was before it was put into ESP; others as they are."""
        if len(packet) < IPV6_OCTETS or packet[6] != NEXT_HEADER:
            return packet
        opened = self.open(IPv6Address(packet[24:40]), packet[IPV6_OCTETS:])
        if opened is None:
            return packet
        next_header, payload = opened
        length = len(payload).to_bytes(2, "big")
        return packet[:4] + length + bytes([next_header]) + packet[7:IPV6_OCTETS] + payload
