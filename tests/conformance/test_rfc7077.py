"""RFC 7077 sections 4 and 5, Update Notifications and the LMA: one test a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nodes.actions import Send
from nodes.wire.codec import decode, encode
from nodes.wire.messages import (
    BindingError,
    Message,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import (
    MobileNodeGroupIdentifier,
    MobileNodeIdentifier,
)
from tests.conformance.headers import (
    DESTINATION,
    SOURCE,
    check_header,
    check_reserved,
    check_unknown_option,
)
from tests.domain import MN, at

if TYPE_CHECKING:
    from tests.domain import Domain, Network

UPN, UPA = UpdateNotification, UpdateNotificationAcknowledgement
FORCE, FLOW_MOBILITY = 1, 8


def lossy(
    domain: type[Domain], kinds: tuple[type[Message], ...] = (UPN,), **policy: object
) -> Network:
    """A network that loses messages of these kinds, and a flow on the cell."""
    network = domain.network("unique", **policy)
    network.add_flow(1, "cell", domain.P2)
    network.fate = lambda message: () if isinstance(message, kinds) else (0.01,)
    network.sent.clear()
    return network


def notifications(network: Network) -> list[tuple[float, UpdateNotification]]:
    """With the second each was sent at, since the order."""
    found = [s for s in network.sent if isinstance(s.message, UPN)]
    first = found[0].seconds if found else 0.0
    return [(s.seconds - first, s.message) for s in found if isinstance(s.message, UPN)]


def force(network: Network, token: int = 99) -> None:
    network.lma.core.force_registration(MN, token, at(network.seconds))
    network.take_from_lma()


def test_rfc7077_4_1_01_numbers_of_outstanding_messages_differ(domain: type[Domain]) -> None:
    """Also when the counter comes round while one still waits."""
    network = lossy(domain)
    network.move(1, "wlan")
    notifier = network.lma.core.flows._initiator.notifier
    ((_, first),) = notifications(network)
    notifier._next_sequence = first.sequence
    force(network)
    sequences = [message.sequence for _, message in notifications(network)]
    assert len(sequences) == len(set(sequences)) == 3


def test_rfc7077_4_1_02_the_reason_is_no_set_of_bits(domain: type[Domain]) -> None:
    gateway = domain.mag().registered()
    for reason in (0x0108, 0x0009, 0x8008):
        message = replace(domain.fmi(5, (domain.P2,)), reason=reason, sequence=reason)
        actions = gateway.receive(message, 1)
        (answer,) = [a.message for a in domain.of(Send, actions)]
        assert isinstance(answer, UPA)
        assert not answer.accepted
    assert not gateway.core.bindings[gateway.interface].off_link_prefixes
    octets = encode(domain.fmi(5, ()), SOURCE, DESTINATION)
    assert int.from_bytes(octets[8:10], "big") == FLOW_MOBILITY


def test_rfc7077_4_1_03_the_d_flag_is_for_repetitions(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    force(network)
    network.run(5)
    by_number: dict[int, list[bool]] = {}
    for _, message in notifications(network):
        by_number.setdefault(message.sequence, []).append(message.retransmit)
    assert list(by_number.values()) == [[False, True]] * 3


def test_rfc7077_4_1_04_reserved_bits_mean_nothing(domain: type[Domain]) -> None:
    check_reserved(domain.fmi(5, (domain.P1,)), {3: 0xFF, 10: 0x3F, 11: 0xFF})


def test_rfc7077_4_1_05_unknown_options_of_a_notification_are_skipped(
    domain: type[Domain],
) -> None:
    check_unknown_option(domain.fmi(5, (domain.P1,)))


def acknowledgement(domain: type[Domain]) -> UpdateNotificationAcknowledgement:
    return UPA(5, 0, domain.fmi(5, (domain.P1,)).options)


def test_rfc7077_4_2_01_reserved_octets_mean_nothing(domain: type[Domain]) -> None:
    check_reserved(acknowledgement(domain), {3: 0xFF, 9: 0xFF, 10: 0xFF, 11: 0xFF})


def test_rfc7077_4_2_02_unknown_options_of_an_answer_are_skipped(domain: type[Domain]) -> None:
    check_unknown_option(acknowledgement(domain))


def test_rfc7077_5_01_the_reason_says_what_for(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    ((_, message),) = notifications(network)
    assert message.reason == FLOW_MOBILITY
    network.sent.clear()
    force(network)
    assert [message.reason for _, message in notifications(network)] == [FORCE, FORCE]


def test_rfc7077_5_02_a_notification_names_a_node_or_a_group(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    force(network)
    for _, message in notifications(network):
        assert message.option(MobileNodeIdentifier) == MobileNodeIdentifier.of(MN)
    network.sent.clear()
    network.lma.core.force_registrations(domain.MAG1, 100, at(network.seconds))
    network.take_from_lma()
    ((_, message),) = notifications(network)
    assert message.option(MobileNodeGroupIdentifier) == MobileNodeGroupIdentifier(1)


def test_rfc7077_5_1_01_the_a_flag_asks_for_an_answer(domain: type[Domain]) -> None:
    """It is set if and only if the LMA waits for one."""
    network = lossy(domain, ())
    network.move(1, "wlan")
    ((_, message),) = notifications(network)
    assert message.acknowledge
    network.run(1)
    network.sent.clear()
    force(network)
    assert [message.acknowledge for _, message in notifications(network)] == [False, False]
    network.run(1)
    assert not [s for s in network.sent if isinstance(s.message, UPA)]


def test_rfc7077_5_1_02_numbers_begin_at_random_and_increase(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    force(network)
    numbers = [message.sequence for _, message in notifications(network)]
    assert [number - numbers[0] for number in numbers] == [0, 1, 2]
    notifier = network.lma.core.flows._initiator.notifier
    notifier.numbers.next = 0xFFFF
    network.sent.clear()
    force(network, 100)
    assert [message.sequence for _, message in notifications(network)] == [0xFFFF, 0]
    assert numbers[0] not in (0, 1), "the seed of the tests makes it neither"


def test_rfc7077_5_1_04_the_source_is_the_lmaa(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    network.run(2)
    assert {s.source for s in network.sent if isinstance(s.message, UPN)} == {"lma"}


def test_rfc7077_5_1_05_the_destination_is_the_proxy_coa(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    assert [s.destination for s in network.sent if isinstance(s.message, UPN)] == ["mag1"]
    network.sent.clear()
    force(network)
    asked = [s.destination for s in network.sent if isinstance(s.message, UPN)]
    assert asked == ["mag1", "mag2"]


@pytest.mark.parametrize("lost", [UPN, UPA])
def test_rfc7077_5_2_01_without_an_answer_it_goes_out_again(
    domain: type[Domain], lost: type[Message]
) -> None:
    network = lossy(domain, (lost,))
    network.move(1, "wlan")
    network.run(1.5)
    assert len(notifications(network)) == 2


def test_rfc7077_5_2_02_number_and_contents_stay(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    network.run(5)
    (_, first), (_, second) = notifications(network)
    assert replace(second, retransmit=False) == first


def test_rfc7077_5_2_03_a_repetition_has_the_d_flag(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    network.run(5)
    assert [message.retransmit for _, message in notifications(network)] == [False, True]


@pytest.mark.parametrize("delay_ms", [None, 500, 5_000])
def test_rfc7077_5_2_04_a_repetition_takes_the_delay(
    domain: type[Domain], delay_ms: int | None
) -> None:
    name = "min_delay_between_update_notification_replay_ms"
    changes = {} if delay_ms is None else {name: delay_ms}
    anchor = domain.lma(max_update_notification_retransmit_count=3, **changes)
    anchor.receive(domain.pbu())
    anchor.core.force_registration(MN, 1, at(0))
    anchor.taken()
    times = []
    while (due := anchor.core.flows.deadline()) is not None:
        assert domain.of(Send, anchor.timer(due - 0.001)) == []
        times += [due] * len(domain.of(Send, anchor.timer(due)))
    delay_s = (1_000 if delay_ms is None else delay_ms) / 1000
    assert times == [delay_s, 2 * delay_s, 3 * delay_s]


@pytest.mark.parametrize("count", [None, 0, 5])
def test_rfc7077_5_2_05_it_is_repeated_as_often_as_configured(
    domain: type[Domain], count: int | None
) -> None:
    name = "max_update_notification_retransmit_count"
    anchor = domain.lma(**({} if count is None else {name: count}))
    anchor.receive(domain.pbu())
    anchor.core.force_registration(MN, 1, at(0))
    sent = len(domain.of(Send, anchor.taken()))
    while (due := anchor.core.flows.deadline()) is not None:
        sent += len(domain.of(Send, anchor.timer(due)))
    assert sent == 1 + (1 if count is None else count)


def test_rfc7077_5_2_06_then_it_is_given_up_and_logged(domain: type[Domain]) -> None:
    network = lossy(domain)
    token = network.move(1, "wlan")
    network.run(100)
    assert len(notifications(network)) == 2
    assert "fmi-expired" in network.events()
    assert network.replies[token].error


def test_rfc7077_5_2_07_a_mag_that_knows_none_gets_no_more(domain: type[Domain]) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    network.inject(BindingError(2), domain.MAG1)
    network.sent.clear()
    network.move(1, "cell")
    network.move(1, "wlan")
    force(network)
    network.run(30)
    assert {s.destination for s in network.sent if isinstance(s.message, UPN)} == {"mag2"}


def test_rfc7077_5_2_08_the_header_of_an_answer_is_checked(domain: type[Domain]) -> None:
    check_header(acknowledgement(domain))


def test_rfc7077_5_2_09_an_answer_with_a_broken_header_changes_nothing(
    domain: type[Domain],
) -> None:
    """It doesn't come as far as the core; what is answered to the fault is tested for any
    message, over sockets (RFC 6275 section 9.2)."""
    octets = encode(acknowledgement(domain), SOURCE, DESTINATION)
    with pytest.raises(ValueError, match="checksum"):
        decode(octets[:6] + bytes([octets[6] ^ 1]) + octets[7:], SOURCE, DESTINATION)


def answered(network: Network, message: UpdateNotificationAcknowledgement, source: object) -> bool:
    """Whether the order that waits is done with `message`."""
    before = set(network.replies)
    network.inject(message, source)  # type: ignore[arg-type]
    return set(network.replies) != before


def test_rfc7077_5_2_10_an_answer_of_another_node_is_not_taken(domain: type[Domain]) -> None:
    """Without IPsec the source address is all that tells the MAG from others."""
    network = lossy(domain)
    network.move(1, "wlan")
    ((_, message),) = notifications(network)
    answer = UPA(message.sequence, 0, message.options)
    assert not answered(network, answer, domain.MAG2)
    assert not answered(network, answer, domain.POOL[9])
    assert answered(network, answer, domain.MAG1)


@pytest.mark.parametrize("status", [128, 131, 132, 200, 255])
def test_rfc7077_5_2_12_a_failure_is_logged(domain: type[Domain], status: int) -> None:
    network = lossy(domain)
    token = network.move(1, "wlan")
    ((_, message),) = notifications(network)
    network.inject(UPA(message.sequence, status, message.options[:1]), domain.MAG1)
    (log,) = [log for _, log in network.logs if log.event == "fma-received"]
    assert log.details["status"] == status
    assert "move-failed" in network.events()
    assert str(status) in (network.replies[token].error or "")


def test_rfc7077_5_2_13_an_answer_to_nothing_is_discarded_and_logged(
    domain: type[Domain],
) -> None:
    network = lossy(domain)
    network.move(1, "wlan")
    ((_, message),) = notifications(network)
    wrong = UPA((message.sequence + 1) % 0x10000, 0, message.options)
    assert not answered(network, wrong, domain.MAG1)
    assert network.events()[-1] == "fma-discarded"


def test_rfc7077_5_2_14_an_answer_that_was_not_asked_for_counts(domain: type[Domain]) -> None:
    """It ends the repetitions, as an answer with the A flag does."""
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    anchor.core.force_registration(MN, 1, at(0))
    (sent,) = domain.of(Send, anchor.taken())
    assert isinstance(sent.message, UPN)
    assert not sent.message.acknowledge
    assert anchor.core.flows.deadline() is not None
    anchor.receive(UPA(sent.message.sequence, 0, sent.message.options), 0.1)
    assert anchor.core.flows.deadline() is None
