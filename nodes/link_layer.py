"""Link-layer identifiers and the addresses that follow from them (RFC 4291 appendix A)."""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

_LINK_LOCAL = IPv6Network("fe80::/64")
LINK_LAYER_ADDRESS_OCTETS = 6
_UNIVERSAL_LOCAL_BIT = 0x02


def parse_link_layer_id(text: str) -> bytes:
    """The octets of "02:00:00:00:01:01". Raises ValueError."""
    return bytes.fromhex(text.replace(":", ""))


def interface_identifier(link_layer_id: bytes) -> int:
    """Modified EUI-64 of a MAC address. Raises ValueError for any other length."""
    if len(link_layer_id) != LINK_LAYER_ADDRESS_OCTETS:
        raise ValueError(f"link-layer identifier {link_layer_id.hex()}: expected 6 octets")
    first = link_layer_id[0] ^ _UNIVERSAL_LOCAL_BIT
    return int.from_bytes(
        bytes([first]) + link_layer_id[1:3] + b"\xff\xfe" + link_layer_id[3:], "big"
    )


def link_local_address(link_layer_id: bytes) -> IPv6Address:
    return _LINK_LOCAL[interface_identifier(link_layer_id)]


def random_link_local_address(rng: random.Random) -> IPv6Address:
    return _LINK_LOCAL[rng.getrandbits(64) or 1]
