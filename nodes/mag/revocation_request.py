"""Which bindings a Binding Revocation Indication is about, at the MAG (RFC 5846 6.2.1, 9.1)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import NamedTuple

from nodes.mag.binding_update_list import BindingUpdateListEntry, Registration
from nodes.wire.messages import (
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    MobileNodeIdentifierSubtype,
    RevocationStatus,
    RevocationTrigger,
)
from nodes.wire.options import AlternateCareOfAddress, HomeNetworkPrefix, MobileNodeIdentifier

_GLOBAL = (
    RevocationTrigger.PER_PEER_POLICY,
    RevocationTrigger.REVOKING_MOBILITY_NODE_LOCAL_POLICY,
)
_HANDOVER = (
    RevocationTrigger.INTER_MAG_HANDOVER_SAME_ACCESS_TYPE,
    RevocationTrigger.INTER_MAG_HANDOVER_DIFFERENT_ACCESS_TYPE,
    RevocationTrigger.INTER_MAG_HANDOVER_UNKNOWN,
)


def answer_to(
    message: BindingRevocationIndication, status: RevocationStatus
) -> BindingRevocationAcknowledgement:
    """RFC 5846 section 6.1.2: sequence number and flags are those of the indication."""
    return BindingRevocationAcknowledgement(
        status,
        message.sequence,
        proxy_binding=message.proxy_binding,
        ipv4_only=message.ipv4_only,
        global_revocation=message.global_revocation,
    )


class Verdict(NamedTuple):
    """The status to answer with, and the bindings that are revoked if it is a success."""

    status: RevocationStatus
    revoked: tuple[BindingUpdateListEntry, ...] = ()


def judge(
    message: BindingRevocationIndication,
    bindings: Iterable[BindingUpdateListEntry],
    proxy_coa: IPv6Address,
) -> Verdict:
    """`bindings` are those of the sender at this MAG, all with `proxy_coa`."""
    if not message.proxy_binding:
        # Only the P bit says that it is about proxy bindings, and there are no others here.
        return Verdict(RevocationStatus.REVOCATION_FUNCTION_NOT_SUPPORTED)
    if message.ipv4_only:
        return Verdict(RevocationStatus.BINDING_DOES_NOT_EXIST)
    if message.trigger not in list(RevocationTrigger):
        return Verdict(RevocationStatus.REVOCATION_TRIGGER_NOT_SUPPORTED)
    if message.global_revocation != (message.trigger in _GLOBAL):
        return Verdict(RevocationStatus.REVOCATION_FUNCTION_NOT_SUPPORTED)
    # Which of the MAG's addresses the bindings have to have (section 5.1); this one has one.
    alternate = message.option(AlternateCareOfAddress)
    there = tuple(bindings) if alternate is None or alternate.address == proxy_coa else ()
    return _global(message, there) if message.global_revocation else _of_one(message, there)


def _global(
    message: BindingRevocationIndication, bindings: tuple[BindingUpdateListEntry, ...]
) -> Verdict:
    if message.trigger == RevocationTrigger.PER_PEER_POLICY:
        if message.options:
            return Verdict(RevocationStatus.REVOCATION_FUNCTION_NOT_SUPPORTED)
        return Verdict(RevocationStatus.SUCCESS, bindings)
    name = _name(message)
    if name is None or not name.startswith("@"):
        return Verdict(RevocationStatus.REVOKED_MOBILE_NODES_IDENTITY_REQUIRED)
    found = tuple(entry for entry in bindings if entry.profile.mn_id.endswith(name))
    if not found:
        return Verdict(RevocationStatus.REVOKED_MOBILE_NODES_IDENTITY_REQUIRED)
    return Verdict(RevocationStatus.SUCCESS, found)


def _of_one(
    message: BindingRevocationIndication, bindings: tuple[BindingUpdateListEntry, ...]
) -> Verdict:
    name = _name(message)
    if name is None:
        return Verdict(RevocationStatus.REVOKED_MOBILE_NODES_IDENTITY_REQUIRED)
    found = tuple(entry for entry in bindings if entry.profile.mn_id == name)
    wanted = {option.prefix for option in message.all_options(HomeNetworkPrefix)}
    if wanted:
        found = tuple(entry for entry in found if wanted & set(entry.prefixes))
    if not found:
        return Verdict(RevocationStatus.BINDING_DOES_NOT_EXIST)
    attached = any(entry.state is not Registration.DEREGISTERING for entry in found)
    if message.trigger in _HANDOVER and attached:
        return Verdict(RevocationStatus.REVOCATION_FAILED_MN_IS_ATTACHED)
    held = {prefix for entry in found for prefix in entry.prefixes}
    partial = bool(wanted - held)
    return Verdict(RevocationStatus.PARTIAL_SUCCESS if partial else RevocationStatus.SUCCESS, found)


def _name(message: BindingRevocationIndication) -> str | None:
    """Section 5.1: identifiers of other kinds than NAIs are not supported."""
    identifier = message.option(MobileNodeIdentifier)
    if identifier is None or identifier.subtype != MobileNodeIdentifierSubtype.NAI:
        return None
    return identifier.nai
