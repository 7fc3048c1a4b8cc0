"""Which Mobility Headers pass between which nodes, and with which security associations: the
Security Policy Database of RFC 5213 section 4.2, with the messages of later documents."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Literal, NamedTuple

from nodes.ipsec.security_associations import SecurityAssociation
from nodes.strict import InputError
from nodes.wire.values import MobilityHeaderType as Type

Role = Literal["lma", "mag"]
# RFC 5846 section 6 (both sides may revoke), RFC 5847 section 6.1, RFC 7077 sections 5.1 and 5.2:
# all with the protection of Proxy Binding Updates. A forged Binding Error would turn a MAG into
# one that knows no Update Notifications.
_BOTH = (Type.BINDING_ERROR, Type.HEARTBEAT, Type.BINDING_REVOCATION)
TO_LMA = (Type.BINDING_UPDATE, *_BOTH, Type.UPDATE_NOTIFICATION_ACKNOWLEDGEMENT)
TO_MAG = (Type.BINDING_ACKNOWLEDGEMENT, *_BOTH, Type.UPDATE_NOTIFICATION)


class Protected(NamedTuple):
    """Messages of these types from `source` to `destination` are protected with associations that
    have this `reqid`. Each has its own: who has keys of his own must not speak for others."""

    source: IPv6Address
    destination: IPv6Address
    reqid: int
    types: Sequence[Type]


def request_identifiers(peers: Collection[IPv6Address]) -> dict[IPv6Address, int]:
    """Those of the associations that a node's key manager makes, for each of its peers."""
    return {peer: number for number, peer in enumerate(sorted(peers), start=1)}


def from_associations(
    role: Role,
    local: Collection[IPv6Address],
    peers: Collection[IPv6Address],
    associations: Sequence[SecurityAssociation],
    source: str,
) -> list[Protected]:
    """One for each association of a file, with its SPI as request identifier: so it stays the same
    when the node starts again. Raises InputError, which names `source`, if one isn't of this node,
    or a peer lacks one."""
    found: dict[tuple[IPv6Address, IPv6Address], Protected] = {}
    for sa in associations:
        ends = (sa.source, sa.destination)
        if len({end in local for end in ends}) == 1:
            between = f"{sa.source} to {sa.destination}"
            expected = f"expected those from or to {_listed(local)}"
            raise InputError(source, "(association)", between, expected)
        if ends in found:
            between = f"{sa.source} to {sa.destination}"
            raise InputError(source, "(association)", between, "expected one in each direction")
        towards_lma = (sa.destination in local) == (role == "lma")
        found[ends] = Protected(*ends, sa.spi, TO_LMA if towards_lma else TO_MAG)
    for peer in peers:
        for ways, what in ((0, "from"), (1, "to")):
            if not any(ends[ways] == peer for ends in found):
                expected = f"expected one in each direction for {_listed(peers)}"
                raise InputError(source, "(association)", f"none {what} {peer}", expected)
    return list(found.values())


def from_key_manager(
    role: Role, local: Collection[IPv6Address], reqids: Mapping[IPv6Address, int]
) -> list[Protected]:
    """Both directions for each peer, for which `reqids` has the request identifier."""
    to_peer, to_local = (TO_MAG, TO_LMA) if role == "lma" else (TO_LMA, TO_MAG)
    found = []
    for own in dict.fromkeys(local):
        for peer, reqid in reqids.items():
            found.append(Protected(own, peer, reqid, to_peer))
            found.append(Protected(peer, own, reqid, to_local))
    return found


def _listed(addresses: Collection[IPv6Address]) -> str:
    return ", ".join(map(str, sorted(addresses)))
