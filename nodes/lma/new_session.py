"""What the LMA gives a new session besides its prefixes."""

from __future__ import annotations

import random
from ipaddress import IPv6Address, IPv6Network

from nodes.config import LmaConfig

UNKNOWN_PRIORITY = 127
_LINK_LOCAL = IPv6Network("fe80::/64")
_UNIVERSAL_BIT = 1 << 57


def mag_link_local_address(config: LmaConfig, rng: random.Random) -> IPv6Address:
    """The MAG's address on the access link of a new session (RFC 5213 section 5.1): the fixed one
    of the domain, else one made for this session, which stays when the MAG changes."""
    fixed = config.fixed_mag_link_local_address_on_all_access_links
    if not fixed.is_unspecified:
        return fixed
    return _LINK_LOCAL[rng.getrandbits(64) & ~_UNIVERSAL_BIT or 1]


def bid_priority(config: LmaConfig, access_technology: int) -> int:
    """BID-PRI of an access; technologies that the configuration doesn't know come last."""
    return next(
        (
            access.priority
            for access in config.accesses.values()
            if access.technology == access_technology
        ),
        UNKNOWN_PRIORITY,
    )
