"""What an LMA has to do, as a MAG sees it."""

from __future__ import annotations

import time
from ipaddress import IPv6Network

from nodes.wire.messages import ProxyBindingAcknowledgement
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
    UnknownOption,
)
from tests.conformance.sockets.nodes_under_test import (
    ANY,
    BETWEEN_INTERFACES,
    CELL,
    NEW_INTERFACE,
    NOT_CHANGED,
    OUT_OF_WINDOW,
    SHARING,
    UNKNOWN,
    WLAN,
    LmaUnderTest,
    given,
)
from tests.conformance.sockets.outcome import expect, expect_equal

# RFC 5213 section 8.9
NOT_ENABLED, NOT_LMA, NOT_AUTHORIZED = 152, 153, 154
NOT_ITS_PREFIX, MISMATCH, LOWER, NO_PREFIX, OTHER_SET = 155, 156, 157, 158, 159
NO_MN_ID, NO_HANDOFF, NO_TECHNOLOGY = 160, 161, 162
NOBODY = "nobody@conformance.invalid"
FOREIGN = IPv6Network("3fff:fff:ffff:ffff::/64")  # RFC 9637: for documentation, nobody's
CLOSE_NS = 5_000_000_000
FAR_S = 3600.0


def test_rfc5213_5_3_01_checks_are_made_in_order(lma: LmaUnderTest) -> None:
    """Each request breaks two rules, and the earlier one names the status."""
    hour_ago = lma.clock.stamp(-FAR_S)
    lma.expect_status(NO_MN_ID, mn=None, stamp=hour_ago)
    lma.expect_status(NOT_LMA, mn=NOBODY, stamp=hour_ago)
    lma.expect_status(MISMATCH, stamp=hour_ago, prefixes=())
    lma.expect_status(NO_PREFIX, prefixes=(), handoff=None)
    lma.expect_status(NO_HANDOFF, handoff=None, technology=None)


def test_rfc5213_5_3_1_05_mn_identifier_is_missing(lma: LmaUnderTest) -> None:
    answer = lma.expect_status(NO_MN_ID, mn=None)
    identifier = answer.option(MobileNodeIdentifier)
    expect(identifier is not None, "no Mobile Node Identifier option in the PBA")
    assert identifier is not None
    expect_equal(identifier.identifier, b"", "the identifier")


def test_rfc5213_5_3_1_07_mag_is_not_authorized(lma: LmaUnderTest) -> None:
    stranger = given(lma.stranger, "STRANGER: an address that the LMA takes for no MAG")
    lma.expect_status(NOT_AUTHORIZED, stranger)


def test_rfc5213_5_3_1_08_mobile_node_is_unknown(lma: LmaUnderTest) -> None:
    lma.expect_status(NOT_LMA, mn=NOBODY)


def test_rfc5213_5_3_1_09_service_is_not_enabled(lma: LmaUnderTest) -> None:
    disabled = given(lma.disabled_mn, "DISABLED_MN: an MN-ID without permission for the service")
    lma.expect_status(NOT_ENABLED, mn=disabled)


def test_rfc5213_5_3_1_11_prefix_option_is_missing(lma: LmaUnderTest) -> None:
    lma.expect_status(NO_PREFIX, prefixes=())


def test_rfc5213_5_3_1_12_handoff_indicator_is_missing(lma: LmaUnderTest) -> None:
    lma.expect_status(NO_HANDOFF, handoff=None)


def test_rfc5213_5_3_1_13_access_technology_is_missing(lma: LmaUnderTest) -> None:
    lma.expect_status(NO_TECHNOLOGY, technology=None)


def test_rfc5213_5_3_2_01_prefixes_are_allocated(lma: LmaUnderTest) -> None:
    session = lma.register()
    expect(bool(session.prefixes), "no Home Network Prefix option in the PBA")
    expect(ANY not in session.prefixes, "the PBA has the prefix ALL_ZERO")


def test_rfc5213_5_3_2_02_prefixes_are_in_no_other_session(lma: LmaUnderTest) -> None:
    first, second = lma.register(), lma.register()
    common = set(first.prefixes) & set(second.prefixes)
    expect(not common, f"two sessions have {sorted(common)}")


def test_rfc5213_5_3_2_06_prefix_isn_t_the_mobile_node_s(lma: LmaUnderTest) -> None:
    lma.expect_status(NOT_ITS_PREFIX, prefixes=(FOREIGN,))


def test_rfc5213_5_3_3_02_lifetime_is_extended(lma: LmaUnderTest) -> None:
    session = lma.register()
    answer = lma.ask(lma.again(session.request, session.answer, handoff=NOT_CHANGED))
    expect_equal(answer.status, 0, "the PBA's status")
    expect(answer.lifetime > 0, "the PBA's lifetime is 0")


def test_rfc5213_5_3_4_07_session_moves_to_another_mag(lma: LmaUnderTest) -> None:
    session = lma.register()
    answer = lma.ask(lma.again(session.request, session.answer, handoff=3), lma.another_mag())
    expect_equal(answer.status, 0, "the PBA's status")
    expect_equal(_prefixes(answer), session.prefixes, "the session's prefixes")


def test_rfc5213_5_3_5_01_only_its_mag_ends_a_session(lma: LmaUnderTest) -> None:
    session = lma.register()
    other = lma.another_mag()
    other.drain()
    leaving = lma.again(session.request, session.answer, handoff=UNKNOWN, lifetime=0)
    other.send(leaving, lma.address)
    other.expect_silence(ProxyBindingAcknowledgement, lma.address)


def test_rfc5213_5_3_5_03_deregistration_is_answered(lma: LmaUnderTest) -> None:
    session = lma.register()
    leaving = lma.again(session.request, session.answer, handoff=UNKNOWN, lifetime=0)
    answer = lma.ask(leaving)
    expect_equal(answer.status, 0, "the PBA's status")
    expect_equal(answer.lifetime, 0, "the PBA's lifetime")


def test_rfc5213_5_3_5_05_deregistration_is_revoked(lma: LmaUnderTest) -> None:
    session = lma.register()
    lma.ask(lma.again(session.request, session.answer, handoff=UNKNOWN, lifetime=0))
    back = lma.again(session.request, session.answer, handoff=NEW_INTERFACE, prefixes=(ANY,))
    answer = lma.ask(back)
    expect_equal(_prefixes(answer), session.prefixes, "the prefixes of the revived session")


def test_rfc5213_5_3_6_05_mn_identifier_is_copied(lma: LmaUnderTest) -> None:
    request = lma.request()
    answer = lma.ask(request)
    _expect_copied(answer, MobileNodeIdentifier, request.option(MobileNodeIdentifier))


def test_rfc5213_5_3_6_08_rejection_repeats_the_prefixes(lma: LmaUnderTest) -> None:
    wanted = [FOREIGN, IPv6Network("3fff:fff:ffff:fffe::/64")]
    answer = lma.expect_status(NO_HANDOFF, prefixes=wanted, handoff=None)
    expect_equal(_prefixes(answer), wanted, "the prefixes in the PBA")


def test_rfc5213_5_3_6_09_rejection_without_prefix_has_all_zero(lma: LmaUnderTest) -> None:
    answer = lma.expect_status(NO_PREFIX, prefixes=())
    expect_equal(_prefixes(answer), [ANY], "the prefixes in the PBA")


def test_rfc5213_5_3_6_12_handoff_indicator_is_copied(lma: LmaUnderTest) -> None:
    _expect_copied(lma.register().answer, HandoffIndicator, HandoffIndicator(NEW_INTERFACE))


def test_rfc5213_5_3_6_13_missing_handoff_indicator_is_zero(lma: LmaUnderTest) -> None:
    answer = lma.expect_status(NO_HANDOFF, handoff=None)
    _expect_copied(answer, HandoffIndicator, HandoffIndicator(0))


def test_rfc5213_5_3_6_15_access_technology_is_copied(lma: LmaUnderTest) -> None:
    for technology in (WLAN, CELL):
        answer = lma.register(technology=technology).answer
        _expect_copied(answer, AccessTechnologyType, AccessTechnologyType(technology))


def test_rfc5213_5_3_6_16_missing_access_technology_is_zero(lma: LmaUnderTest) -> None:
    answer = lma.expect_status(NO_TECHNOLOGY, technology=None)
    _expect_copied(answer, AccessTechnologyType, AccessTechnologyType(0))


def test_rfc5213_5_3_6_17_timestamp_answers_a_timestamp(lma: LmaUnderTest) -> None:
    expect(lma.register().answer.option(Timestamp) is not None, "no Timestamp option in the PBA")
    without = lma.register(stamp=None).answer
    expect(without.option(Timestamp) is None, "a Timestamp option nobody asked for")


def test_rfc5213_5_3_6_18_link_layer_identifier_answers_its_like(lma: LmaUnderTest) -> None:
    without = lma.register(link_layer=None).answer
    found = without.option(MobileNodeLinkLayerIdentifier)
    expect(found is None, "a Mobile Node Link-layer Identifier option nobody asked for")


def test_rfc5213_5_3_6_19_link_layer_identifier_is_copied(lma: LmaUnderTest) -> None:
    identifier = lma.interface()
    answer = lma.register(link_layer=identifier).answer
    wanted = MobileNodeLinkLayerIdentifier(identifier)
    _expect_copied(answer, MobileNodeLinkLayerIdentifier, wanted)


def test_rfc5213_5_4_01_each_interface_has_its_session(lma: LmaUnderTest) -> None:
    """The end of one leaves the other as it is."""
    first, second = lma.register(), lma.register(technology=CELL)
    lma.ask(lma.again(first.request, first.answer, handoff=UNKNOWN, lifetime=0))
    answer = lma.ask(lma.again(second.request, second.answer, handoff=NOT_CHANGED))
    expect_equal(answer.status, 0, "the PBA's status")
    expect_equal(_prefixes(answer), second.prefixes, "the other session's prefixes")


def test_rfc5213_5_4_1_1_04_prefix_of_another_mobile_node(lma: LmaUnderTest) -> None:
    other = given(lma.other_mn, "OTHER_MN: the MN-ID of a second mobile node")
    session = lma.register()
    lma.expect_status(NOT_ITS_PREFIX, mn=other, prefixes=session.prefixes)


def test_rfc5213_5_4_1_1_05_prefix_sets_differ(lma: LmaUnderTest) -> None:
    session = lma.register()
    lma.expect_status(OTHER_SET, prefixes=(*session.prefixes, FOREIGN))


def test_rfc5213_5_4_1_1_08_deregistration_of_nothing_is_ignored(lma: LmaUnderTest) -> None:
    """The session's own prefixes, but another interface at another MAG."""
    session = lma.register()
    other = lma.another_mag()
    other.drain()
    request = lma.request(prefixes=session.prefixes, handoff=UNKNOWN, technology=CELL, lifetime=0)
    other.send(request, lma.address)
    other.expect_silence(ProxyBindingAcknowledgement, lma.address)


def test_rfc5213_5_4_1_2_03_known_interface_has_its_session(lma: LmaUnderTest) -> None:
    identifier = lma.interface()
    first = lma.register(link_layer=identifier)
    second = lma.register(link_layer=identifier)
    expect_equal(second.prefixes, first.prefixes, "the prefixes of the same interface")


def test_rfc5213_5_4_1_2_06_handoff_between_interfaces(lma: LmaUnderTest) -> None:
    lma.settle()
    session = lma.register()
    moved = lma.register(technology=CELL, handoff=BETWEEN_INTERFACES)
    expect_equal(moved.prefixes, session.prefixes, "the prefixes after the handoff")


def test_rfc5213_5_4_1_2_11_deregistration_of_nothing_is_ignored(lma: LmaUnderTest) -> None:
    lma.mag.drain()
    lma.mag.send(lma.request(handoff=NEW_INTERFACE, lifetime=0), lma.address)
    lma.mag.expect_silence(ProxyBindingAcknowledgement, lma.address)


def test_rfc5213_5_5_07_timestamp_goes_before_sequence_number(lma: LmaUnderTest) -> None:
    identifier = lma.interface()
    lma.register(link_layer=identifier, sequence=500)
    lma.register(link_layer=identifier, sequence=499)


def test_rfc5213_5_5_08_sequence_number_is_copied(lma: LmaUnderTest) -> None:
    for sequence in (0, 0x1234, 0xFFFF):
        answer = lma.ask(lma.request(sequence=sequence))
        expect_equal(answer.sequence, sequence, "the sequence number")


def test_rfc5213_5_5_14_valid_timestamp_is_returned(lma: LmaUnderTest) -> None:
    stamp = lma.clock.stamp()
    _expect_copied(lma.register(stamp=stamp).answer, Timestamp, stamp)


def test_rfc5213_5_5_15_timestamp_is_older_than_accepted(lma: LmaUnderTest) -> None:
    identifier, old = lma.interface(), lma.clock.stamp()
    lma.register(link_layer=identifier)
    lma.expect_status(LOWER, link_layer=identifier, stamp=old)


def test_rfc5213_5_5_16_older_timestamp_is_told_the_time(lma: LmaUnderTest) -> None:
    identifier, old = lma.interface(), lma.clock.stamp()
    lma.register(link_layer=identifier)
    _expect_time(lma.expect_status(LOWER, link_layer=identifier, stamp=old), old)


def test_rfc5213_5_5_17_timestamp_is_too_far(lma: LmaUnderTest) -> None:
    for offset_s in (-FAR_S, FAR_S):
        lma.expect_status(MISMATCH, stamp=lma.clock.stamp(offset_s))


def test_rfc5213_5_5_18_far_timestamp_is_told_the_time(lma: LmaUnderTest) -> None:
    far = lma.clock.stamp(FAR_S)
    _expect_time(lma.expect_status(MISMATCH, stamp=far), far)


def test_rfc5213_5_5_20_sequence_number_is_out_of_window(lma: LmaUnderTest) -> None:
    identifier = lma.interface()
    lma.register(link_layer=identifier, stamp=None, sequence=1000)
    answer = lma.expect_status(OUT_OF_WINDOW, link_layer=identifier, stamp=None, sequence=999)
    expect_equal(answer.sequence, 1000, "the last accepted sequence number")


def test_rfc5213_5_5_21_no_timestamp_without_one(lma: LmaUnderTest) -> None:
    identifier = lma.interface()
    for sequence in (2000, 2001):
        answer = lma.register(link_layer=identifier, stamp=None, sequence=sequence).answer
        expect(answer.option(Timestamp) is None, "a Timestamp option nobody asked for")


def test_rfc5213_8_1_02_unknown_options_are_skipped(lma: LmaUnderTest) -> None:
    lma.register(extra=(UnknownOption(0xF7, b"whatever"),))


def test_rfc7864_3_2_1_02_known_interface_updates_its_session(lma: LmaUnderTest) -> None:
    """A session that shared would be a second one, and outlive the first."""
    session = lma.register()
    again = lma.again(session.request, session.answer, handoff=SHARING)
    answer = lma.ask(again)
    expect_equal(answer.status, 0, "the PBA's status")
    expect_equal(_prefixes(answer), session.prefixes, "the prefixes")


def test_rfc7864_3_2_1_03_other_interface_shares_the_prefixes(lma: LmaUnderTest) -> None:
    """Both sessions are there afterwards: each is renewed by its own MAG."""
    session = lma.register()
    other = lma.another_mag()
    shared = lma.register(other, prefixes=session.prefixes, technology=CELL, handoff=SHARING)
    expect_equal(shared.prefixes, session.prefixes, "the prefixes of the second interface")
    for one, peer in ((session, lma.mag), (shared, other)):
        answer = lma.ask(lma.again(one.request, one.answer, handoff=NOT_CHANGED), peer)
        expect_equal(answer.status, 0, "the status of the renewal")
        expect_equal(_prefixes(answer), session.prefixes, "the prefixes of the renewal")


def test_rfc7864_3_2_1_04_unknown_interface_shares_the_prefixes(lma: LmaUnderTest) -> None:
    session = lma.register()
    shared = lma.register(
        lma.another_mag(),
        prefixes=session.prefixes,
        technology=CELL,
        handoff=SHARING,
        link_layer=None,
    )
    expect_equal(shared.prefixes, session.prefixes, "the prefixes of the second interface")


def _prefixes(answer: ProxyBindingAcknowledgement) -> list[IPv6Network]:
    return [option.prefix for option in answer.all_options(HomeNetworkPrefix)]


def _expect_copied(answer: ProxyBindingAcknowledgement, kind: type, wanted: object) -> None:
    expect_equal(answer.option(kind), wanted, f"the PBA's {kind.__name__}")


def _expect_time(answer: ProxyBindingAcknowledgement, sent: Timestamp) -> None:
    """The LMA's own time, which must be ours more or less."""
    stamp = answer.option(Timestamp)
    expect(stamp is not None, "no Timestamp option in the PBA")
    assert stamp is not None
    expect(stamp != sent, "the PBA has the timestamp of the request")
    away = abs(stamp.unix_ns - time.time_ns())
    expect(away < CLOSE_NS, f"the PBA's timestamp is {away / 1e9:g} s away from this clock")
