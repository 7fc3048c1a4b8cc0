"""RFC 5213 section 5.3.1, processing Proxy Binding Updates: one test a rule, named after it."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import Send
from nodes.config import EgressAddress, MobileNodePolicy
from nodes.wire.codec import decode, encode
from nodes.wire.errors import MalformedMessage
from nodes.wire.messages import ProxyBindingStatus
from nodes.wire.options import AlternateCareOfAddress, MobileNodeIdentifier

if TYPE_CHECKING:
    from tests.domain import Anchor, Domain

S = ProxyBindingStatus
STRANGER = IPv6Address("2001:db8:bad::1")
EGRESS = IPv6Address("2001:db8:11::99")
BARRED = "barred@example.org"


def lma(domain: type[Domain]) -> Anchor:
    return domain.lma(
        mobile_nodes={
            domain.MN: MobileNodePolicy(),
            domain.OTHER_MN: MobileNodePolicy(mags=(domain.MAG1,)),
            BARRED: MobileNodePolicy(enabled=False),
        },
        egress_addresses=(EgressAddress(EGRESS, domain.MAG1),),
    )


def refused(domain: type[Domain], status: int, source: str = "MAG1", **changes: Any) -> None:
    anchor = lma(domain)
    reply = anchor.acknowledged(domain.pbu(**changes), source=getattr(domain, source))
    assert reply.status == status
    assert list(anchor.core.bindings) == []


def test_rfc5213_5_3_1_02_mobility_header_rules(domain: type[Domain]) -> None:
    """RFC 6275 section 9.2: none of these reaches the LMA."""
    sent = encode(domain.pbu(), domain.MAG1, domain.LMA)
    assert decode(sent, domain.MAG1, domain.LMA) == domain.pbu()
    faults = {0: 58, 1: 0, 2: 99, 4: sent[4] ^ 1}  # payload protocol, length, type, checksum
    for offset, value in faults.items():
        wrong = sent[:offset] + bytes([value]) + sent[offset + 1 :]
        with pytest.raises(MalformedMessage):
            decode(wrong, domain.MAG1, domain.LMA)


def test_rfc5213_5_3_1_03_no_home_address_option_is_needed(domain: type[Domain]) -> None:
    """Nothing but the Mobility Header and the addresses gets to the LMA, which accepts it."""
    assert lma(domain).acknowledged(domain.pbu()).status == 0


def test_rfc5213_5_3_1_04_mn_identifier_names_the_node(domain: type[Domain]) -> None:
    anchor = lma(domain)
    for mn in (domain.MN, domain.OTHER_MN):
        assert anchor.acknowledged(domain.pbu(mn=mn)).status == 0
    assert [entry.mn_id for entry in anchor.core.bindings] == [domain.MN, domain.OTHER_MN]


def test_rfc5213_5_3_1_05_mn_identifier_is_missing(domain: type[Domain]) -> None:
    reply = lma(domain).acknowledged(domain.pbu(mn=None))
    assert reply.status == S.MISSING_MN_IDENTIFIER_OPTION == 160
    assert reply.option(MobileNodeIdentifier) == MobileNodeIdentifier(b"")


def test_rfc5213_5_3_1_06_sender_is_authorized_for_the_node(domain: type[Domain]) -> None:
    answers = {
        (mn, mag): lma(domain).acknowledged(domain.pbu(mn=mn), source=mag).status
        for mn in (domain.MN, domain.OTHER_MN)
        for mag in (domain.MAG1, domain.MAG2)
    }
    refusals = [pair for pair, status in answers.items() if status]
    assert refusals == [(domain.OTHER_MN, domain.MAG2)]


def test_rfc5213_5_3_1_07_mag_is_not_authorized(domain: type[Domain]) -> None:
    assert S.MAG_NOT_AUTHORIZED_FOR_PROXY_REG == 154
    refused(domain, 154, "MAG2", mn=domain.OTHER_MN)
    anchor = lma(domain)
    assert anchor.acknowledged(domain.pbu(), source=STRANGER).status == 154
    elsewhere = domain.pbu(extra=(AlternateCareOfAddress(STRANGER),))
    assert anchor.acknowledged(elsewhere).status == 154
    anothers = domain.pbu(extra=(AlternateCareOfAddress(domain.MAG2),))
    assert anchor.acknowledged(anothers).status == 154


def test_rfc5213_5_3_1_08_node_is_unknown(domain: type[Domain]) -> None:
    refused(domain, 153, mn="nobody@example.org")
    refused(domain, 153, mn="")


def test_rfc5213_5_3_1_09_service_is_not_enabled(domain: type[Domain]) -> None:
    refused(domain, 152, mn=BARRED)


def test_rfc5213_5_3_1_10_message_order_is_checked(domain: type[Domain]) -> None:
    """Section 5.5, by timestamp and by sequence number."""
    refused(domain, S.TIMESTAMP_MISMATCH, seconds=1.0)
    anchor = lma(domain)
    anchor.acknowledged(domain.pbu(timestamp=False, sequence=5))
    again = anchor.acknowledged(domain.pbu(timestamp=False, sequence=5))
    assert again.status == S.SEQUENCE_NUMBER_OUT_OF_WINDOW == 135


def test_rfc5213_5_3_1_11_prefix_option_is_missing(domain: type[Domain]) -> None:
    refused(domain, 158, prefixes=None)


def test_rfc5213_5_3_1_12_handoff_indicator_is_missing(domain: type[Domain]) -> None:
    refused(domain, 161, handoff=None)


def test_rfc5213_5_3_1_13_access_technology_is_missing(domain: type[Domain]) -> None:
    refused(domain, 162, technology=None)


def test_rfc5213_5_3_1_14_session_is_looked_up(domain: type[Domain]) -> None:
    """Section 5.4.1: by prefix, by link-layer identifier, by MN-ID."""
    for key in ({"prefixes": (domain.P1,)}, {}, {"link_layer": None, "handoff": 3}):
        anchor = lma(domain)
        anchor.acknowledged(domain.pbu())
        anchor.acknowledged(domain.pbu(1, **key), 1)  # type: ignore[arg-type]
        assert [entry.prefixes for entry in anchor.core.bindings] == [(domain.P1,)]


def test_rfc5213_5_3_1_15_new_session(domain: type[Domain]) -> None:
    anchor = lma(domain)
    anchor.acknowledged(domain.pbu())
    other = domain.pbu(1, link_layer=domain.LINK_LAYER_2, technology=domain.CELL)
    assert domain.prefixes(anchor.acknowledged(other, 1, domain.MAG2)) == [domain.P2]
    assert len(list(anchor.core.bindings)) == 2


def test_rfc5213_5_3_1_16_lifetime_zero_deregisters(domain: type[Domain]) -> None:
    anchor = lma(domain)
    anchor.acknowledged(domain.pbu())
    anchor.acknowledged(domain.pbu(1, prefixes=(domain.P1,), handoff=4, lifetime=0), 1)
    assert [entry.registered for entry in anchor.core.bindings] == [False]


@pytest.mark.parametrize("alternate", [False, True])
def test_rfc5213_5_3_1_17_same_proxy_coa_extends(domain: type[Domain], alternate: bool) -> None:
    anchor = lma(domain)
    anchor.acknowledged(domain.pbu(lifetime=10))
    extra = (AlternateCareOfAddress(domain.MAG1),) if alternate else ()
    source = EGRESS if alternate else domain.MAG1
    again = domain.pbu(1, prefixes=(domain.P1,), handoff=5, lifetime=10, extra=extra)
    actions = anchor.receive(again, 1, source)
    (entry,) = anchor.core.bindings
    assert (entry.proxy_coa, entry.expires) == (domain.MAG1, 41.0)
    assert [sent.destination for sent in domain.of(Send, actions)] == [source]
    assert anchor.forwarding.tunnels == {domain.MAG1}


def test_rfc5213_5_3_1_18_other_proxy_coa_is_a_handoff(domain: type[Domain]) -> None:
    anchor = lma(domain)
    anchor.acknowledged(domain.pbu())
    anchor.acknowledged(domain.pbu(1, prefixes=(domain.P1,), handoff=3), 1, domain.MAG2)
    assert anchor.forwarding.routes == {domain.P1: domain.MAG2}


@pytest.mark.parametrize("changes", [{}, {"mn": BARRED}, {"handoff": None}, {"seconds": 9.0}])
def test_rfc5213_5_3_1_19_answers_are_constructed_alike(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    """Section 5.3.6: what every answer has, whatever its status."""
    request = domain.pbu(sequence=77, **changes)
    reply = lma(domain).acknowledged(request)
    assert reply.proxy_registration
    assert reply.sequence == 77
    kinds = [type(option).__name__ for option in reply.options]
    assert kinds == [
        "MobileNodeIdentifier",
        "HomeNetworkPrefix",
        "HandoffIndicator",
        "AccessTechnologyType",
        "Timestamp",
        "MobileNodeLinkLayerIdentifier",
    ]
