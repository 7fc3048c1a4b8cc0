"""What `test_lma` doesn't have: authorization, ordering variants and the link-local address."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import Send
from nodes.config import EgressAddress, MobileNodePolicy
from nodes.wire.messages import MobileNodeIdentifierSubtype, ProxyBindingStatus
from nodes.wire.options import (
    AccessLinkReport,
    AlternateCareOfAddress,
    LinkLocalAddress,
    MobileNodeIdentifier,
    Timestamp,
)

if TYPE_CHECKING:
    from tests.domain import Domain

S = ProxyBindingStatus
ZERO = IPv6Address("::")


def test_a_mag_that_may_not_speak_for_a_node_rfc5213_4_and_5_3_1_step_6(
    domain: type[Domain],
) -> None:
    nodes = {domain.MN: MobileNodePolicy(mags=(domain.MAG1,)), domain.OTHER_MN: MobileNodePolicy()}
    anchor = domain.lma(mobile_nodes=nodes)
    reply = anchor.acknowledged(domain.pbu(), source=domain.MAG2)
    assert reply.status == S.MAG_NOT_AUTHORIZED_FOR_PROXY_REG
    assert anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN), source=domain.MAG2).status == 0
    assert anchor.acknowledged(domain.pbu(), source=domain.MAG1).status == 0


EGRESS = IPv6Address("2001:db8:11::99")


@pytest.mark.parametrize("known", [True, False])
def test_packets_are_sent_to_authorized_addresses_only_rfc5213_4(
    domain: type[Domain], known: bool
) -> None:
    """The Proxy-CoA of an Alternate Care-of Address option is where they would go."""
    proxy_coa = domain.MAG1 if known else IPv6Address("2001:db8:bad::1")
    asked = domain.pbu(extra=(AlternateCareOfAddress(proxy_coa),))
    status = domain.lma().acknowledged(asked).status
    assert status == (0 if known else S.MAG_NOT_AUTHORIZED_FOR_PROXY_REG)


@pytest.mark.parametrize(
    ("handoff", "lifetime"), [(5, 900), (3, 900), (4, 0)], ids=["renew", "take-over", "end"]
)
def test_a_mag_can_not_claim_the_proxy_coa_of_another_rfc5213_4(
    domain: type[Domain], handoff: int, lifetime: int
) -> None:
    """Both may register the node, and yet neither may speak as if it were the other."""
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu())
    (entry,) = anchor.core.bindings
    before = (entry.registered, entry.expires, entry.sequence, dict(anchor.forwarding.routes))
    claim = AlternateCareOfAddress(domain.MAG1)
    asked = domain.pbu(
        1, prefixes=(domain.P1,), handoff=handoff, lifetime=lifetime, sequence=8, extra=(claim,)
    )
    reply = anchor.acknowledged(asked, 1, domain.MAG2)
    assert reply.status == S.MAG_NOT_AUTHORIZED_FOR_PROXY_REG == 154
    (entry,) = anchor.core.bindings
    after = (entry.registered, entry.expires, entry.sequence, dict(anchor.forwarding.routes))
    assert after == before


def test_a_mag_signals_from_its_egress_address_rfc5213_6_9_1_5(domain: type[Domain]) -> None:
    """And speaks from there for its own Proxy-CoA only, for the nodes that this one may."""
    nodes = {domain.MN: MobileNodePolicy(mags=(domain.MAG1,)), domain.OTHER_MN: MobileNodePolicy()}
    egress = (EgressAddress(EGRESS, domain.MAG1),)
    statuses = {}
    for proxy_coa in (domain.MAG1, domain.MAG2, EGRESS, None):
        extra = () if proxy_coa is None else (AlternateCareOfAddress(proxy_coa),)
        anchor = domain.lma(mobile_nodes=nodes, egress_addresses=egress)
        reply = anchor.acknowledged(domain.pbu(mn=domain.MN, extra=extra), source=EGRESS)
        statuses[proxy_coa] = reply.status
    refused = S.MAG_NOT_AUTHORIZED_FOR_PROXY_REG
    assert statuses == {domain.MAG1: 0, domain.MAG2: refused, EGRESS: refused, None: refused}


def test_who_deregisters_what_another_mag_has_is_ignored_rfc5213_5_4_1(
    domain: type[Domain],
) -> None:
    """The MAG may register the node, and says nothing of another Proxy-CoA."""
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu())
    asked = domain.pbu(1, prefixes=(domain.P1,), handoff=4, lifetime=0, sequence=8)
    assert domain.of(Send, anchor.receive(asked, 1, domain.MAG2)) == []
    (entry,) = anchor.core.bindings
    assert (entry.registered, entry.proxy_coa) == (True, domain.MAG1)
    assert anchor.forwarding.routes == {domain.P1: domain.MAG1}


def test_identifiers_of_other_kinds_are_nobodys_rfc4283(domain: type[Domain]) -> None:
    """The octets of a NAI in a subtype that isn't the NAI's name nobody."""
    asked = domain.pbu()
    options = tuple(
        replace(option, subtype=MobileNodeIdentifierSubtype.IMSI)
        if isinstance(option, MobileNodeIdentifier)
        else option
        for option in asked.options
    )
    reply = domain.lma().acknowledged(replace(asked, options=options))
    assert reply.status == S.NOT_LMA_FOR_THIS_MOBILE_NODE


@pytest.mark.parametrize("missing", ["handoff", "technology"])
def test_age_is_checked_before_options_that_are_missing_rfc5213_5_3_1_steps_9_to_12(
    domain: type[Domain], missing: str
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(1.0), 1.0)
    changes: dict[str, Any] = {missing: None}
    reply = anchor.acknowledged(domain.pbu(0.9, **changes), 1.0)
    assert reply.status == S.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED


def test_sequence_numbers_order_if_the_domain_says_so_rfc5213_9_3(domain: type[Domain]) -> None:
    """With TimestampBasedApproachInUse 0 a timestamp says nothing and is only returned."""
    anchor = domain.lma(timestamp_based_approach_in_use=False)
    reply = anchor.acknowledged(domain.pbu(100.0, sequence=5))
    assert (reply.status, reply.option(Timestamp)) == (0, domain.pbu(100.0).option(Timestamp))
    assert anchor.acknowledged(domain.pbu(50.0, sequence=6)).status == 0
    stale = anchor.acknowledged(domain.pbu(200.0, sequence=6))
    assert (stale.status, stale.sequence) == (S.SEQUENCE_NUMBER_OUT_OF_WINDOW, 6)


def test_a_timestamp_of_the_mobile_node_is_returned_even_if_refused_rfc5213_5_5_step_7(
    domain: type[Domain],
) -> None:
    anchor = domain.lma(mobile_node_generated_timestamp_in_use=True)
    assert anchor.acknowledged(domain.pbu(1e6)).status == 0
    reply = anchor.acknowledged(domain.pbu(1e6 - 1))
    assert reply.status == S.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED
    assert reply.option(Timestamp) == domain.pbu(1e6 - 1).option(Timestamp)


def test_a_request_without_timestamp_does_not_open_the_way_for_old_ones_rfc5213_5_5_step_6(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu(1.0, sequence=1), 1.0)
    anchor.receive(domain.pbu(sequence=2, timestamp=False), 1.05)
    (entry,) = anchor.core.bindings
    assert entry.timestamp == 0  # section 5.1
    reply = anchor.acknowledged(domain.pbu(0.9), 1.1)
    assert reply.status == S.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED


def test_unknown_handoff_state_need_not_wait_rfc5213_5_4_1_2_step_4(domain: type[Domain]) -> None:
    anchor = domain.lma(max_delay_before_new_bce_assign_ms=0)
    anchor.receive(domain.pbu())
    asked = domain.pbu(handoff=4, technology=domain.CELL, link_layer=domain.LINK_LAYER_2)
    assert domain.prefixes(anchor.acknowledged(asked, source=domain.MAG2)) == [domain.P2]
    assert len(domain.of(Send, anchor.timer(5.0))) == 0


def test_link_local_addresses_are_made_for_each_session_rfc5213_5_1(domain: type[Domain]) -> None:
    """If the domain has no fixed one."""
    anchor = domain.lma(fixed_mag_link_local_address_on_all_access_links=ZERO)
    anchor.receive(domain.pbu())
    anchor.receive(domain.pbu(mn=domain.OTHER_MN))
    one, other = (entry.link_local_address for entry in anchor.core.bindings)
    assert one != other
    for address in (one, other):
        assert address.is_link_local
        assert address.packed[1:8] == bytes([0x80]) + bytes(6)
        assert not address.packed[8] & 2, "not one that a registry gave out"


def test_a_link_local_address_stays_through_a_handoff_rfc5213_6_8(domain: type[Domain]) -> None:
    anchor = domain.lma(fixed_mag_link_local_address_on_all_access_links=ZERO)
    asked = (LinkLocalAddress(ZERO),)
    first = anchor.acknowledged(domain.pbu(extra=asked)).option(LinkLocalAddress)
    handed = domain.pbu(1, handoff=3, prefixes=(domain.P1,), extra=asked)
    assert anchor.acknowledged(handed, 1, domain.MAG2).option(LinkLocalAddress) == first


def test_what_the_old_mag_said_of_its_link_is_forgotten_rfc5213_5_3_4(
    domain: type[Domain],
) -> None:
    """A policy would judge the new link by the old one's quality."""
    lma = domain.lma()
    lma.receive(domain.pbu(extra=(AccessLinkReport(10, 90, 50),)))
    (entry,) = lma.core.bindings
    lma.receive(domain.pbu(1), 1)
    assert entry.access_link_report == AccessLinkReport(10, 90, 50), "a renewal says nothing of it"
    lma.receive(domain.pbu(2, handoff=3), 2, domain.MAG2)
    assert entry.proxy_coa == domain.MAG2
    assert entry.access_link_report == AccessLinkReport()
