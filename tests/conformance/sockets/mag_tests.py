"""What a MAG has to do, as its LMA sees it; and on the MN's link, where that can be watched."""

from __future__ import annotations

import itertools
from ipaddress import IPv6Network

from nodes.wire.messages import (
    ProxyBindingUpdate,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    MobileNodeIdentifier,
    Timestamp,
)
from tests.conformance.sockets.nodes_under_test import ANY, MagUnderTest, given, prefixes
from tests.conformance.sockets.outcome import expect, expect_equal

UNKNOWN, NOT_CHANGED = 4, 5  # handoff indicators
ADMINISTRATIVELY_PROHIBITED = 129
MN_NOT_ATTACHED = 132
NOBODY = "nobody@conformance.invalid"
THIRD = IPv6Network("3fff:fff:ffff:fffd::/64")  # RFC 9637: for documentation
REFRESHED_S = 5.0
HOST = 0x77  # interface identifier of the address in a prefix that test packets go to


def test_rfc5213_6_9_1_1_02_attachment_makes_a_request(mag: MagUnderTest) -> None:
    request = mag.attach()
    expect(request.lifetime > 0, "the PBU's lifetime is 0")


def test_rfc5213_6_9_1_1_03_mn_identifier_is_there(mag: MagUnderTest) -> None:
    identifier = mag.attach().option(MobileNodeIdentifier)
    expect_equal(identifier, MobileNodeIdentifier.of(mag.mn), "the PBU's identifier")


def test_rfc5213_6_9_1_1_05_one_prefix_option_if_all_zero(mag: MagUnderTest) -> None:
    found = prefixes(mag.attach())
    expect(bool(found), "the PBU has no Home Network Prefix option")
    expect(ANY not in found or len(found) == 1, f"the PBU's prefixes are {found}")


def test_rfc5213_6_9_1_1_07_handoff_indicator_is_a_hint(mag: MagUnderTest) -> None:
    hint = mag.attach().option(HandoffIndicator)
    expect(hint is not None and hint.hint in (1, 2, 3, 4, 6), f"the PBU has {hint}")


def test_rfc5213_6_9_1_1_14_timestamp_or_sequence_number(mag: MagUnderTest) -> None:
    expect(mag.attach().option(Timestamp) is not None, "the PBU has no Timestamp option")


def test_rfc5213_6_9_1_1_17_access_technology_is_there(mag: MagUnderTest) -> None:
    expect(mag.attach().option(AccessTechnologyType) is not None, "the PBU has no such option")


def test_rfc5213_6_9_1_2_06_answer_to_no_request_is_ignored(mag: MagUnderTest) -> None:
    """One with another sequence number; and one that isn't from the LMA."""
    request = mag.attach()
    mag.accept(request, sequence=request.sequence ^ 0x4000)
    if mag.stranger is not None:
        mag.accept(request, peer=mag.stranger)
    again = mag.lma.expect(ProxyBindingUpdate, mag.address)
    expect(again.lifetime > 0, "the MAG deregisters")


def test_rfc5213_6_9_1_2_07_answer_with_other_options_is_ignored(mag: MagUnderTest) -> None:
    others = (
        HandoffIndicator(NOT_CHANGED),
        AccessTechnologyType(1),
        MobileNodeIdentifier.of(NOBODY),
    )
    for other in others:
        mag.accept(mag.attach(), changed=(other,))
        expect(not mag.is_registered(), f"the MAG took {other} for an echo")
        mag.leave()


def test_rfc5213_6_9_1_2_08_no_request_after_other_options(mag: MagUnderTest) -> None:
    mag.accept(mag.attach(), changed=(HandoffIndicator(NOT_CHANGED),))
    mag.lma.expect_silence(ProxyBindingUpdate, mag.address)


def test_rfc5213_6_9_1_2_10_nothing_is_advertised_after_a_rejection(mag: MagUnderTest) -> None:
    link = mag.link()
    request = mag.attach()
    link.advertised(0.1)
    mag.accept(request, status=ADMINISTRATIVELY_PROHIBITED)
    found = link.advertised(2.0)
    expect(mag.prefix not in found, f"{mag.prefix} is advertised")
    expect(not mag.is_registered(), "the MAG serves the MN")


def test_rfc5213_6_9_1_2_13_packets_come_through_the_tunnel(mag: MagUnderTest) -> None:
    link = mag.link()
    mag.register()
    link.advertised(1.0)
    expect(link.delivers(mag.address, mag.lma, mag.prefix[HOST]), "the packet didn't arrive")


def test_rfc5213_6_9_1_2_16_prefixes_are_advertised(mag: MagUnderTest) -> None:
    link = mag.link()
    mag.register()
    expect(mag.prefix in link.advertised(2.0), f"{mag.prefix} isn't advertised")


def test_rfc5213_6_9_1_3_02_renewal_lists_the_prefixes(mag: MagUnderTest) -> None:
    expect_equal(prefixes(_renewal(mag)), [mag.prefix], "the PBU's prefixes")


def test_rfc5213_6_9_1_3_03_renewal_says_not_changed(mag: MagUnderTest) -> None:
    hint = _renewal(mag).option(HandoffIndicator)
    expect_equal(hint, HandoffIndicator(NOT_CHANGED), "the PBU's handoff indicator")


def test_rfc5213_6_9_1_4_02_deregistration_lists_the_prefixes(mag: MagUnderTest) -> None:
    mag.register()
    request = mag.detach()
    expect_equal(request.lifetime, 0, "the PBU's lifetime")
    expect_equal(prefixes(request), [mag.prefix], "the PBU's prefixes")
    mag.accept(request)


def test_rfc5213_6_9_1_4_03_deregistration_says_unknown(mag: MagUnderTest) -> None:
    mag.register()
    request = mag.detach()
    hint = request.option(HandoffIndicator)
    expect_equal(hint, HandoffIndicator(UNKNOWN), "the PBU's handoff indicator")
    mag.accept(request)


def test_rfc5213_6_9_1_4_06_nothing_is_delivered_after_departure(mag: MagUnderTest) -> None:
    """The MN is back, and isn't registered yet."""
    link = mag.link()
    mag.register()
    link.advertised(0.5)
    mag.leave()
    mag.attach()
    found = link.delivers(mag.address, mag.lma, mag.prefix[HOST])
    expect(not found, "a packet came though there is no registration")


def test_rfc5213_6_9_1_5_02_flags_p_and_a_are_set(mag: MagUnderTest) -> None:
    request = mag.attach()
    expect(request.proxy_registration and request.acknowledge, f"the flags of {request}")


def test_rfc5213_6_9_4_03_requests_back_off(mag: MagUnderTest) -> None:
    """INITIAL_BINDACK_TIMEOUT is 1 s, and each timeout is twice the one before."""
    mag.attach()
    waits = []
    times = [a.at for a in mag.lma.arrivals(mag.address, 8.0)]
    for earlier, later in itertools.pairwise(times):
        waits.append(later - earlier)
    expect(len(waits) > 1, f"{len(times)} retransmissions in 8 s")
    for shorter, longer in itertools.pairwise(waits):
        expect(1.6 < longer / shorter < 2.4, f"the waits between them are {waits} s")


def test_rfc5213_6_9_4_04_retransmission_has_a_newer_timestamp(mag: MagUnderTest) -> None:
    first = mag.attach().option(Timestamp)
    second = mag.lma.expect(ProxyBindingUpdate, mag.address).option(Timestamp)
    expect(first is not None and second is not None, "a PBU has no Timestamp option")
    assert first is not None
    assert second is not None
    expect(second.value > first.value, "the timestamp isn't newer")


def test_rfc7864_3_2_2_01_off_link_prefixes_are_not_advertised(mag: MagUnderTest) -> None:
    """Neither those of the PBA nor those of an FMI."""
    link = mag.link()
    mag.register(off_link=(mag.other_prefix,))
    mag.notify(mag.notification((mag.other_prefix, THIRD)))
    found = link.advertised(2.0)
    expect(not found & {mag.other_prefix, THIRD}, f"advertised: {sorted(found)}")


def test_rfc7864_4_2_02_an_fmi_is_the_whole_set(mag: MagUnderTest) -> None:
    """A packet to a prefix arrives while the prefix is in the set."""
    link = mag.link()
    mag.register()
    link.advertised(1.0)
    for conveyed in ((mag.other_prefix,), (mag.other_prefix, THIRD), (THIRD,)):
        mag.notify(mag.notification(conveyed))
        for prefix in (mag.other_prefix, THIRD):
            arrives = link.delivers(mag.address, mag.lma, prefix[HOST])
            expect_equal(arrives, prefix in conveyed, f"delivery to {prefix} after {conveyed}")
    expect(link.delivers(mag.address, mag.lma, mag.prefix[HOST]), "its own prefix went, too")


def test_rfc7864_4_3_01_acknowledgement_has_identifier_and_prefixes(mag: MagUnderTest) -> None:
    mag.register()
    answer = mag.notify(mag.notification((mag.other_prefix,)))
    expect_equal(answer.status, 0, "the FMA's status")
    first = next(iter(answer.options), None)
    expect_equal(first, MobileNodeIdentifier.of(mag.mn), "the FMA's first option")
    expect_equal(prefixes(answer), [mag.other_prefix], "the FMA's prefixes")


def test_rfc7077_6_1_05_duplicate_is_not_a_new_request(mag: MagUnderTest) -> None:
    """After a newer FMI, a duplicate of the one before doesn't bring its set back."""
    link = mag.link()
    mag.register()
    link.advertised(1.0)
    first = mag.notification((mag.other_prefix,), sequence=0x6001)
    mag.notify(first)
    mag.notify(mag.notification((THIRD,), sequence=0x6002))
    mag.notify(first)
    found = link.delivers(mag.address, mag.lma, mag.other_prefix[HOST])
    expect(not found, "the duplicate was carried out")


def test_rfc7077_6_1_06_unseen_retransmission_is_an_initial_request(mag: MagUnderTest) -> None:
    mag.register()
    answer = mag.notify(mag.notification((mag.other_prefix,), retransmit=True))
    expect_equal(answer.status, 0, "the FMA's status")


def test_rfc7077_6_1_08_retransmission_is_answered(mag: MagUnderTest) -> None:
    mag.register()
    first = mag.notify(mag.notification((mag.other_prefix,), sequence=0x6010))
    again = mag.notify(mag.notification((mag.other_prefix,), sequence=0x6010, retransmit=True))
    expect_equal(again.status, first.status, "the status of the second FMA")


def test_rfc7077_6_1_10_answer_is_sent_if_asked_for(mag: MagUnderTest) -> None:
    mag.register()
    mag.notify(mag.notification((mag.other_prefix,)))
    mag.lma.send(mag.notification((mag.other_prefix,), acknowledge=False), mag.address)
    mag.lma.expect_silence(UpdateNotificationAcknowledgement, mag.address)


def test_rfc7077_6_2_01_answer_has_the_sequence_number(mag: MagUnderTest) -> None:
    mag.register()
    for sequence in (0, 0x1234, 0xFFFF):
        answer = mag.notify(mag.notification((mag.other_prefix,), sequence=sequence))
        expect_equal(answer.sequence, sequence, "the FMA's sequence number")


def test_rfc7077_6_2_02_status_says_what_came_of_it(mag: MagUnderTest) -> None:
    """RFC 7864 section 4.3: 132 for an MN that isn't attached."""
    mag.register()
    for mn in (NOBODY, mag.mn):
        answer = mag.notify(mag.notification((mag.other_prefix,), mn=mn))
        wanted = 0 if mn == mag.mn else MN_NOT_ATTACHED
        expect_equal(answer.status, wanted, f"the FMA's status for {mn}")


def test_rfc7077_6_2_03_answer_has_the_mn_identifier(mag: MagUnderTest) -> None:
    for mn in (NOBODY, mag.mn):
        answer = mag.notify(mag.notification((mag.other_prefix,), mn=mn))
        identifier = answer.option(MobileNodeIdentifier)
        expect_equal(identifier, MobileNodeIdentifier.of(mn), "the FMA's identifier")


def test_rfc7077_6_1_03_notification_of_a_stranger_is_refused(mag: MagUnderTest) -> None:
    """Without IPsec the source address is all that tells the LMA from others."""
    stranger = given(mag.stranger, "STRANGER: an address that isn't the MAG's LMA")
    mag.register()
    stranger.drain()
    stranger.send(mag.notification((mag.other_prefix,)), mag.address)
    stranger.expect_silence(UpdateNotificationAcknowledgement, mag.address)


def _renewal(mag: MagUnderTest) -> ProxyBindingUpdate:
    """The MAG's next request after it was granted 4 s."""
    mag.register(lifetime=1)
    request = mag.lma.expect(ProxyBindingUpdate, mag.address, REFRESHED_S)
    mag.accept(request)
    return request
