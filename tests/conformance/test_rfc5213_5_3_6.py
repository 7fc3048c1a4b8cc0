"""RFC 5213 section 5.3.6, constructing the Proxy Binding Acknowledgement: one test a rule."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import Send
from nodes.config import EgressAddress, MobileNodePolicy
from nodes.wire.codec import decode, encode
from nodes.wire.messages import ProxyBindingAcknowledgement
from nodes.wire.options import (
    AccessTechnologyType,
    AlternateCareOfAddress,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
)

if TYPE_CHECKING:
    from tests.domain import Domain

ZERO = IPv6Address("::")
GIVEN, LATER = IPv6Address("fe80::7"), IPv6Address("fe80::8")
NO_FIXED: dict[str, Any] = {"fixed_mag_link_local_address_on_all_access_links": ZERO}
NOBODY = "nobody@example.org"


def answer(domain: type[Domain], **changes: Any) -> ProxyBindingAcknowledgement:
    return domain.lma().acknowledged(domain.pbu(**changes))


def address(reply: ProxyBindingAcknowledgement) -> IPv6Address:
    option = reply.option(LinkLocalAddress)
    assert option is not None
    return option.address


def asks(value: IPv6Address) -> tuple[Option, ...]:
    return (LinkLocalAddress(value),)


def test_rfc5213_5_3_6_01_message_is_constructed_as_specified(domain: type[Domain]) -> None:
    reply = answer(domain, extra=asks(ZERO))
    assert [type(option) for option in reply.options] == [
        MobileNodeIdentifier,
        HomeNetworkPrefix,
        HandoffIndicator,
        AccessTechnologyType,
        Timestamp,
        MobileNodeLinkLayerIdentifier,
        LinkLocalAddress,
    ]
    assert reply.proxy_registration
    assert decode(encode(reply, domain.LMA, domain.MAG1), domain.LMA, domain.MAG1) == reply


def test_rfc5213_5_3_6_02_source_is_the_requests_destination(domain: type[Domain]) -> None:
    (sent,) = domain.of(Send, domain.lma().receive(domain.pbu()))
    assert sent.source == domain.LMA


def test_rfc5213_5_3_6_03_destination_is_the_requests_source(domain: type[Domain]) -> None:
    """Not the Alternate Care-of Address."""
    egress = IPv6Address("2001:db8:12::99")
    anchor = domain.lma(egress_addresses=(EgressAddress(egress, domain.MAG2),))
    asked = domain.pbu(extra=(AlternateCareOfAddress(domain.MAG2),))
    (sent,) = domain.of(Send, anchor.receive(asked, source=egress))
    assert sent.destination == egress


@pytest.mark.parametrize("mn", ["mn1@example.org", NOBODY, None])
def test_rfc5213_5_3_6_04_mn_identifier_is_present(domain: type[Domain], mn: str | None) -> None:
    assert answer(domain, mn=mn).option(MobileNodeIdentifier) is not None


@pytest.mark.parametrize("mn", ["mn1@example.org", NOBODY])
def test_rfc5213_5_3_6_05_mn_identifier_is_copied(domain: type[Domain], mn: str) -> None:
    assert answer(domain, mn=mn).option(MobileNodeIdentifier) == MobileNodeIdentifier.of(mn)


def test_rfc5213_5_3_6_06_missing_mn_identifier_has_no_length(domain: type[Domain]) -> None:
    assert answer(domain, mn=None).option(MobileNodeIdentifier) == MobileNodeIdentifier(b"")


@pytest.mark.parametrize("changes", [{}, {"prefixes": None}, {"mn": None}, {"technology": None}])
def test_rfc5213_5_3_6_07_a_prefix_option_is_present(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    assert answer(domain, **changes).option(HomeNetworkPrefix) is not None


def test_rfc5213_5_3_6_08_rejection_has_the_requests_prefixes(domain: type[Domain]) -> None:
    reply = answer(domain, handoff=None, prefixes=(domain.P3, domain.P1))
    assert domain.prefixes(reply) == [domain.P3, domain.P1]


def test_rfc5213_5_3_6_09_rejection_without_prefixes_has_all_zero(domain: type[Domain]) -> None:
    (option,) = answer(domain, prefixes=None).all_options(HomeNetworkPrefix)
    assert option.address == ZERO


def test_rfc5213_5_3_6_10_acceptance_has_each_assigned_prefix(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=3))
    reply = anchor.acknowledged(domain.pbu())
    assert domain.prefixes(reply) == [domain.P1, domain.P2, domain.P3]
    again = anchor.acknowledged(domain.pbu(1), 1)  # asks for any, and has all
    assert domain.prefixes(again) == [domain.P1, domain.P2, domain.P3]
    leaving = domain.pbu(2, prefixes=(domain.P3, domain.P1, domain.P2), handoff=4, lifetime=0)
    assert len(domain.prefixes(anchor.acknowledged(leaving, 2))) == 3


@pytest.mark.parametrize("changes", [{}, {"handoff": None}, {"mn": NOBODY}])
def test_rfc5213_5_3_6_11_handoff_indicator_is_present(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    assert answer(domain, **changes).option(HandoffIndicator) is not None


@pytest.mark.parametrize("hint", [0, 1, 2, 3, 5, 6, 200])
def test_rfc5213_5_3_6_12_handoff_indicator_is_copied(domain: type[Domain], hint: int) -> None:
    assert answer(domain, handoff=hint).option(HandoffIndicator) == HandoffIndicator(hint)


def test_rfc5213_5_3_6_13_missing_handoff_indicator_is_zero(domain: type[Domain]) -> None:
    assert answer(domain, handoff=None).option(HandoffIndicator) == HandoffIndicator(0)


@pytest.mark.parametrize("changes", [{}, {"technology": None}, {"mn": NOBODY}])
def test_rfc5213_5_3_6_14_access_technology_is_present(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    assert answer(domain, **changes).option(AccessTechnologyType) is not None


@pytest.mark.parametrize("technology", [0, 4, 8, 255])
def test_rfc5213_5_3_6_15_access_technology_is_copied(
    domain: type[Domain], technology: int
) -> None:
    found = answer(domain, technology=technology).option(AccessTechnologyType)
    assert found == AccessTechnologyType(technology)


def test_rfc5213_5_3_6_16_missing_access_technology_is_zero(domain: type[Domain]) -> None:
    found = answer(domain, technology=None).option(AccessTechnologyType)
    assert found == AccessTechnologyType(0)


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("mn", ["mn1@example.org", NOBODY])
def test_rfc5213_5_3_6_17_timestamp_answers_a_timestamp(
    domain: type[Domain], present: bool, mn: str
) -> None:
    reply = answer(domain, timestamp=present, mn=mn)
    assert (reply.option(Timestamp) is not None) is present


@pytest.mark.parametrize("link_layer", [b"\2\0\0\0\1\1", None])
@pytest.mark.parametrize("mn", ["mn1@example.org", NOBODY])
def test_rfc5213_5_3_6_18_link_layer_identifier_answers_one(
    domain: type[Domain], link_layer: bytes | None, mn: str
) -> None:
    found = answer(domain, link_layer=link_layer, mn=mn).option(MobileNodeLinkLayerIdentifier)
    assert (found is not None) is (link_layer is not None)


@pytest.mark.parametrize("link_layer", [b"\2\0\0\0\1\1", bytes(6), b"\1\2\3\4\5\6\7\x08"])
def test_rfc5213_5_3_6_19_link_layer_identifier_is_copied(
    domain: type[Domain], link_layer: bytes
) -> None:
    found = answer(domain, link_layer=link_layer).option(MobileNodeLinkLayerIdentifier)
    assert found == MobileNodeLinkLayerIdentifier(link_layer)


@pytest.mark.parametrize("extra", [(), asks(ZERO), asks(GIVEN)])
@pytest.mark.parametrize("mn", ["mn1@example.org", NOBODY])
def test_rfc5213_5_3_6_20_link_local_address_answers_one(
    domain: type[Domain], extra: tuple[Option, ...], mn: str
) -> None:
    found = answer(domain, extra=extra, mn=mn).option(LinkLocalAddress)
    assert (found is not None) is bool(extra)


@pytest.mark.parametrize("value", [ZERO, GIVEN])
def test_rfc5213_5_3_6_21_rejection_copies_the_link_local_address(
    domain: type[Domain], value: IPv6Address
) -> None:
    assert address(answer(domain, mn=NOBODY, extra=asks(value))) == value


def test_rfc5213_5_3_6_22_link_local_address_of_the_session(domain: type[Domain]) -> None:
    anchor = domain.lma(**NO_FIXED)
    first = address(anchor.acknowledged(domain.pbu(extra=asks(ZERO))))
    again = anchor.acknowledged(domain.pbu(1, prefixes=(domain.P1,), extra=asks(ZERO)), 1)
    assert address(again) == first
    moved = domain.pbu(2, prefixes=(domain.P1,), handoff=3, extra=asks(ZERO))
    assert address(anchor.acknowledged(moved, 2, domain.MAG2)) == first
    leaving = domain.pbu(3, prefixes=(domain.P1,), handoff=4, lifetime=0, extra=asks(ZERO))
    assert address(anchor.acknowledged(leaving, 3, domain.MAG2)) == first


@pytest.mark.parametrize("changes", [{}, NO_FIXED])
def test_rfc5213_5_3_6_23_link_local_address_is_generated(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    made = address(domain.lma(**changes).acknowledged(domain.pbu(extra=asks(ZERO))))
    assert made.is_link_local
    assert made != ZERO


def test_rfc5213_5_3_6_24_generated_address_is_in_the_answer(domain: type[Domain]) -> None:
    """RFC 6543: it is the fixed one, where the domain has it."""
    fixed = IPv6Address("fe80::200:5eff:fe00:5213")
    assert address(answer(domain, extra=asks(ZERO))) == fixed


def test_rfc5213_5_3_6_25_generated_address_is_in_the_entry(domain: type[Domain]) -> None:
    anchor = domain.lma(**NO_FIXED)
    made = address(anchor.acknowledged(domain.pbu(extra=asks(ZERO))))
    assert [entry.link_local_address for entry in anchor.core.bindings] == [made]


def test_rfc5213_5_3_6_26_link_local_address_is_copied(domain: type[Domain]) -> None:
    assert address(answer(domain, extra=asks(GIVEN))) == GIVEN


def test_rfc5213_5_3_6_27_link_local_address_goes_to_the_entry(domain: type[Domain]) -> None:
    anchor = domain.lma()
    for second, value in enumerate((GIVEN, LATER)):
        anchor.acknowledged(domain.pbu(second, extra=asks(value)), second)
        assert [entry.link_local_address for entry in anchor.core.bindings] == [value]


def test_rfc5213_5_3_6_29_no_routing_header(domain: type[Domain]) -> None:
    """The core says what is sent from where to where, and has no place for extension headers."""
    (sent,) = domain.of(Send, domain.lma().receive(domain.pbu()))
    assert set(sent.__dataclass_fields__) == {"message", "source", "destination"}
    data = encode(sent.message, sent.source, sent.destination)
    assert (data[0], data[2]) == (59, 6)  # nothing follows, and it is a Binding Acknowledgement
