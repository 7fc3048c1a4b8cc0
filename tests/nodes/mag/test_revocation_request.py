"""Which indications a MAG accepts, and for which bindings (RFC 5846 sections 6.2.1 and 9.1)."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.config import AccessProfile
from nodes.link_layer import link_local_address
from nodes.mag.binding_update_list import BindingUpdateListEntry, Registration
from nodes.mag.revocation_request import answer_to, judge
from nodes.wire.messages import BindingRevocationIndication
from nodes.wire.options import (
    AlternateCareOfAddress,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    Option,
)
from tests.domain import Domain

P1, P2, P3 = Domain.P1, Domain.P2, Domain.P3


def entry(interface: str, mn_id: str, *prefixes: Any) -> BindingUpdateListEntry:
    profile = AccessProfile(mn_id=mn_id, access_technology=4, link_layer_id="02:00:00:00:01:01")
    address = link_local_address(Domain.LINK_LAYER_1)
    return BindingUpdateListEntry(
        interface, profile, address, state=Registration.REGISTERED, prefixes=prefixes
    )


BINDINGS = (
    entry("a", "one@example.org", P1),
    entry("b", "one@example.org", P2),
    entry("c", "two@example.org", P3),
    entry("d", "two@foo.example.org"),
)


def verdict(
    trigger: int, *options: Option, g: bool = False, p: bool = True, v: bool = False
) -> tuple[int, str]:
    message = BindingRevocationIndication(
        trigger, 1, options, proxy_binding=p, ipv4_only=v, global_revocation=g
    )
    status, revoked = judge(message, BINDINGS, Domain.MAG1)
    return int(status), "".join(found.interface for found in revoked)


def mn(identifier: str) -> Option:
    return MobileNodeIdentifier.of(identifier)


HERE, ELSEWHERE = AlternateCareOfAddress(Domain.MAG1), AlternateCareOfAddress(Domain.MAG2)
ONE, HNP1, HNP2, HNP3 = mn("one@example.org"), *map(HomeNetworkPrefix.of, (P1, P2, P3))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (verdict(1, ONE), (0, "ab")),
        (verdict(1, ONE, HNP2), (0, "b")),
        (verdict(1, ONE, HNP1, HNP2), (0, "ab")),
        (verdict(1, ONE, HNP1, HNP3), (1, "a")),
        (verdict(1, ONE, HNP3), (128, "")),
        (verdict(1, ONE, HNP2, HERE), (0, "b")),
        (verdict(1, ONE, HNP2, ELSEWHERE), (128, "")),
        (verdict(129, mn("@example.org"), HERE, g=True), (0, "abc")),
        (verdict(129, mn("@example.org"), ELSEWHERE, g=True), (131, "")),
        (verdict(1, mn("nobody@example.org")), (128, "")),
        (verdict(1, HNP1), (131, "")),
        (verdict(1, ONE, p=False), (134, "")),
        (verdict(1, ONE, v=True), (128, "")),
        (verdict(9, ONE), (133, "")),
        (verdict(128, ONE), (134, "")),
        (verdict(1, ONE, g=True), (134, "")),
        (verdict(128, g=True), (0, "abcd")),
        (verdict(128, ONE, g=True), (134, "")),
        (verdict(129, mn("@example.org"), g=True), (0, "abc")),
        (verdict(129, g=True), (131, "")),
        (verdict(129, mn("@example.net"), g=True), (131, "")),
        (verdict(129, ONE, g=True), (131, "")),
        (verdict(2, ONE, HNP1), (132, "")),
        (verdict(4, ONE), (132, "")),
    ],
)
def test_status_and_bindings_rfc5846_6_2_1_9_1(
    found: tuple[int, str], expected: tuple[int, str]
) -> None:
    assert found == expected


def test_a_handover_is_confirmed_once_the_node_has_left_rfc5846_9_1() -> None:
    gone = entry("a", "one@example.org", P1)
    gone.state = Registration.DEREGISTERING
    status, revoked = judge(BindingRevocationIndication(3, 1, (ONE,)), [gone], Domain.MAG1)
    assert (status, revoked) == (0, (gone,))


def test_the_answer_has_the_flags_of_the_indication_rfc5846_6_1_2() -> None:
    asked = BindingRevocationIndication(
        1, 77, proxy_binding=False, ipv4_only=True, global_revocation=True
    )
    answer = answer_to(asked, judge(asked, (), Domain.MAG1).status)
    assert (answer.sequence, answer.proxy_binding) == (77, False)
    assert (answer.ipv4_only, answer.global_revocation) == (True, True)
