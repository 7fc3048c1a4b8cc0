"""What the tests of RFC 5846 share: an LMA with bindings to revoke, and a MAG that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.actions import Action, Send
from nodes.config import MobileNodePolicy
from nodes.wire.messages import (
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Message,
    Option,
    ProxyBindingAcknowledgement,
)
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier
from tests.domain import Domain, at

if TYPE_CHECKING:
    from tests.domain import Anchor, Gateway

ADMINISTRATIVE, SAME_ACCESS, OTHER_ACCESS, UNKNOWN_HANDOVER = 1, 2, 3, 4
PER_PEER, LOCAL_POLICY = 128, 129
PARTIAL = 1
NO_BINDING, IDENTITY_REQUIRED, ATTACHED = 128, 131, 132
TRIGGER_NOT_SUPPORTED, FUNCTION_NOT_SUPPORTED = 133, 134
ONE = MobileNodeIdentifier.of(Domain.MN)
REALM = MobileNodeIdentifier.of("@example.org")
HNP1, HNP2 = map(HomeNetworkPrefix.of, (Domain.P1, Domain.P2))


def messages(actions: list[Action]) -> list[Message]:
    return [action.message for action in Domain.of(Send, actions)]


def indications(actions: list[Action]) -> list[BindingRevocationIndication]:
    return [m for m in messages(actions) if isinstance(m, BindingRevocationIndication)]


def acceptances(actions: list[Action]) -> list[ProxyBindingAcknowledgement]:
    return [m for m in messages(actions) if isinstance(m, ProxyBindingAcknowledgement)]


def answers(actions: list[Action]) -> list[BindingRevocationAcknowledgement]:
    return [m for m in messages(actions) if isinstance(m, BindingRevocationAcknowledgement)]


def anchor(**changes: object) -> Anchor:
    """A mobile node with an interface at each MAG, and another node at the first."""
    made = Domain.lma(MobileNodePolicy(), **changes)
    made.receive(Domain.pbu())
    other = Domain.pbu(1, technology=Domain.CELL, link_layer=Domain.LINK_LAYER_2)
    made.receive(other, 1, Domain.MAG2)
    made.receive(Domain.pbu(1, mn=Domain.OTHER_MN), 1)
    return made


def revoke(made: Anchor, access: str | None = None, seconds: float = 2.0) -> list[Action]:
    """By order: the mobile node's binding of an access, or all of its bindings."""
    bid = None if access is None else made.core.resolve(Domain.MN, access)
    made.core.revoke(Domain.MN, bid, 1, at(seconds))
    return made.taken()


def revoke_mag(made: Anchor, seconds: float = 2.0) -> list[Action]:
    made.core.revoke_mag(Domain.MAG1, 1, at(seconds))
    return made.taken()


def revoke_realm(made: Anchor, seconds: float = 2.0) -> list[Action]:
    made.core.revoke_realm("example.org", None, 1, at(seconds))
    return made.taken()


def bound(made: Anchor) -> list[tuple[str, object]]:
    return [(entry.mn_id, entry.proxy_coa) for entry in made.core.bindings]


def indication(
    trigger: int,
    *options: Option,
    g: bool = False,
    p: bool = True,
    v: bool = False,
    sequence: int = 7,
) -> BindingRevocationIndication:
    return BindingRevocationIndication(
        trigger, sequence, options, proxy_binding=p, ipv4_only=v, global_revocation=g
    )


def told(gateway: Gateway, message: BindingRevocationIndication) -> int:
    """The status that a MAG answers with."""
    (answer,) = answers(gateway.receive(message, 10))
    return int(answer.status)
