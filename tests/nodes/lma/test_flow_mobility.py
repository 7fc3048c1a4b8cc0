"""Flow mobility at the LMA, with MAGs and messages around it (see `conftest`)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING

import pytest

from nodes.actions import ForwardFlows, Reply, Send
from nodes.config import MobileNodePolicy
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.wire.messages import (
    BindingError,
    BindingErrorStatus,
    Message,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.traffic_selector import IPv6TrafficSelector

if TYPE_CHECKING:
    from tests.domain import Domain, Network

FMI, FMA = UpdateNotification, UpdateNotificationAcknowledgement
ROUND_TRIP = ["FMI lma>mag1", "FMA mag1>lma"]


def with_flow(domain: type[Domain], model: str = "unique", **policy: object) -> Network:
    """Both accesses attached and a flow to the prefix of the cellular access, which carries it."""
    network = domain.network(model, **policy)
    prefix = domain.P1 if model == "shared" else domain.P2
    token = network.add_flow(1, "cell", prefix)
    assert network.replies[token] == Reply(token, {"fid": 1})
    assert network.path(1) == domain.MAG2
    return network


def lose(network: Network, kind: type[Message], count: int) -> None:
    """Lose the next `count` messages of a kind."""
    left = [count]

    def fate(message: Message) -> tuple[float, ...]:
        if isinstance(message, kind) and left[0] > 0:
            left[0] -= 1
            return ()
        return (network.delay_s,)

    network.fate = fate


def failure(network: Network, token: int) -> str:
    error = network.replies[token].error
    assert error is not None
    return error


def test_a_shared_prefix_needs_no_signalling_rfc7864_3_2_1(domain: type[Domain]) -> None:
    network = with_flow(domain, "shared")
    token = network.move(1, "wlan")
    assert network.replies[token] == Reply(token, {"fid": 1, "move": 1})
    assert network.path(1) == domain.MAG1
    assert network.row(1).bids == (network.bid("wlan"),)
    network.run(5)
    assert network.messages() == []


def test_a_unique_prefix_is_signalled_to_the_target_rfc7864_3_2_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    network.move(1, "wlan")
    (sent,) = network.sent
    assert isinstance(sent.message, FMI)
    assert (sent.message.reason, sent.message.acknowledge, sent.message.retransmit) == (
        8,
        True,
        False,
    )
    assert domain.prefixes(sent.message, off_link=True) == [domain.P2]
    assert domain.prefixes(sent.message) == []
    network.run(1)
    assert network.messages() == ROUND_TRIP
    assert network.off_link("mag1") == {domain.P2}
    assert network.mags["mag1"].forwarding.hosted == {
        ("mag1-mn", domain.P1),
        ("mag1-mn", domain.P2),
    }


def test_on_ack_packets_move_after_the_fma_rfc7864_3_2_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    token = network.move(1, "wlan")
    network.run(0.0199)
    assert (network.path(1), token in network.replies) == (domain.MAG2, False)
    network.run(0.0002)
    assert network.path(1) == domain.MAG1
    assert network.replies[token].result == {"fid": 1, "move": 1}


def test_on_send_packets_move_with_the_fmi_rfc7864_3_2_2(domain: type[Domain]) -> None:
    network = with_flow(domain, switch="on-send")
    token = network.move(1, "wlan")
    assert (network.path(1), token in network.replies) == (domain.MAG1, False)
    network.run(0.021)
    assert network.replies[token].error is None
    assert network.messages() == ROUND_TRIP
    assert network.events().count("switched") == 1


def test_a_prefix_that_the_target_has_is_not_signalled_again_rfc7864_4_2(
    domain: type[Domain],
) -> None:
    network = with_flow(domain)
    for target, mag in (("wlan", domain.MAG1), ("cell", domain.MAG2), ("wlan", domain.MAG1)):
        network.move(1, target)
        network.run(0.1)
        assert network.path(1) == mag
    assert network.messages() == ROUND_TRIP


def test_the_hybrid_model_signals_the_new_prefix_only_rfc7864_3_1(domain: type[Domain]) -> None:
    network = domain.network("hybrid")
    network.add_flow(1, "wlan", domain.P1)
    network.add_flow(2, "cell", domain.P2)
    network.move(1, "cell")  # MAG 2 has the prefix in use and the new one
    assert network.messages() == []
    network.move(2, "wlan")
    network.run(0.1)
    assert network.messages() == ROUND_TRIP
    assert (network.path(1), network.path(2)) == (domain.MAG2, domain.MAG1)


def test_an_fmi_is_the_whole_set_rfc7864_4_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    network.move(1, "wlan")
    network.run(0.1)
    wlan = network.lma.core.bindings.get(network.bid("wlan"))
    assert wlan is not None
    third = domain.pbu(network.seconds, technology=5, link_layer=b"\2\0\0\0\3\1", handoff=1)
    network.inject(third, domain.MAG2)
    network.add_flow(2, "cell", domain.P3)
    network.run(0.1)
    network.sent.clear()
    network.move(2, "wlan")
    (sent,) = network.sent
    assert domain.prefixes(sent.message, off_link=True) == [domain.P2, domain.P3]
    network.run(0.1)
    assert wlan.flow_mobility_prefixes == (domain.P2, domain.P3)


def test_one_lost_fmi_costs_a_second_rfc7077_5_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    lose(network, FMI, 1)
    token = network.move(1, "wlan")
    network.run(1.0199)
    assert (network.path(1), token in network.replies) == (domain.MAG2, False)
    network.run(0.0002)
    assert network.path(1) == domain.MAG1
    first, second, _ = [sent.message for sent in network.sent]
    assert isinstance(first, FMI)
    assert isinstance(second, FMI)
    assert (first.retransmit, second.retransmit) == (False, True)
    assert (first.sequence, first.options) == (second.sequence, second.options)


def test_one_lost_fma_costs_a_second_as_well_rfc7077_5_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    lose(network, FMA, 1)
    token = network.move(1, "wlan")
    network.run(1.03)
    assert network.replies[token].error is None
    assert network.messages() == ROUND_TRIP * 2
    assert network.events("mag1").count("flow-mobility") == 2, "redone: RFC 7077 section 6.1"
    assert network.events("mag1").count("fmi-duplicate") == 1


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_two_lost_fmis_lose_the_move_rfc7077_5_2(domain: type[Domain], switch: str) -> None:
    network = with_flow(domain, switch=switch)
    lose(network, FMI, 2)
    token = network.move(1, "wlan")
    network.run(1.999)
    assert token not in network.replies
    network.run(0.002)
    assert "didn't answer" in failure(network, token)
    assert (network.path(1), network.row(1).bids) == (domain.MAG2, (network.bid("cell"),))
    assert "fmi-expired" in network.events()
    again = network.move(1, "wlan")  # the order can be given again
    network.run(0.1)
    assert network.replies[again].error is None
    assert network.path(1) == domain.MAG1


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
@pytest.mark.parametrize(("status", "fails"), [(0, False), (127, False), (128, True), (132, True)])
def test_statuses_from_128_on_are_failures_rfc7077_4_2(
    domain: type[Domain], switch: str, status: int, fails: bool
) -> None:
    network = with_flow(domain, switch=switch)
    lose(network, FMI, 1)
    token = network.move(1, "wlan")
    sequence = getattr(network.sent[-1].message, "sequence", -1)
    network.inject(FMA(sequence, status), domain.MAG1)
    assert (network.replies[token].error is not None) is fails
    assert network.path(1) == (domain.MAG2 if fails else domain.MAG1)
    assert network.lma.core.timer() != network.seconds + 1


@pytest.mark.parametrize("wrong", ["sequence", "peer"])
def test_an_fma_that_answers_nothing_is_discarded_rfc7077_5_2(
    domain: type[Domain], wrong: str
) -> None:
    network = with_flow(domain)
    lose(network, FMI, 1)
    token = network.move(1, "wlan")
    sequence = getattr(network.sent[-1].message, "sequence", -1)
    if wrong == "sequence":
        network.inject(FMA((sequence + 1) % 0x10000, 0), domain.MAG1)
    else:
        network.inject(FMA(sequence, 0), domain.MAG2)
    assert "fma-discarded" in network.events()
    assert token not in network.replies
    assert network.path(1) == domain.MAG2


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_a_mag_without_update_notifications_is_not_asked_again_rfc7077_5_2(
    domain: type[Domain], switch: str
) -> None:
    network = with_flow(domain, switch=switch, fallback="refuse")
    lose(network, FMI, 9)
    token = network.move(1, "wlan")
    network.inject(BindingError(BindingErrorStatus.UNRECOGNIZED_MH_TYPE), domain.MAG1)
    assert "doesn't support" in failure(network, token)
    assert network.path(1) == domain.MAG2
    network.messages()
    again = network.move(1, "wlan")
    assert "doesn't support" in failure(network, again)
    network.run(5)
    assert network.messages() == []
    assert network.path(1) == domain.MAG2
    network.add_flow(2, "wlan", domain.P1)
    other_way = network.move(2, "cell")  # the other MAG is asked all the same
    assert network.messages() == ["FMI lma>mag2"]
    assert other_way not in network.replies


@pytest.mark.parametrize("stranger", [True, False])
def test_other_binding_errors_change_nothing_rfc7077_5_2(
    domain: type[Domain], stranger: bool
) -> None:
    network = with_flow(domain)
    token = network.move(1, "wlan")
    status = BindingErrorStatus(2 if stranger else 1)
    source = IPv6Address("2001:db8:bad::1") if stranger else domain.MAG1
    network.inject(BindingError(status), source)
    network.run(0.1)
    assert network.replies[token].error is None


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_a_newer_order_replaces_one_that_waits_rfc7864_5_2(
    domain: type[Domain], switch: str
) -> None:
    network = with_flow(domain, switch=switch)
    first = network.move(1, "wlan")
    network.run(0.005)
    second = network.move(1, "cell")
    assert "newer move" in failure(network, first)
    assert network.replies[second].error is None
    network.run(1)
    assert network.path(1) == domain.MAG2
    assert network.row(1).bids == (network.bid("cell"),)


def test_a_replaced_move_is_not_gone_back_to_rfc7864_5_2(domain: type[Domain]) -> None:
    """On-send: the first order switched the flow already, but its target never got the prefix."""
    network = with_flow(domain, switch="on-send")
    lose(network, FMI, 99)
    network.move(1, "wlan")
    network.run(0.1)
    network.move(1, "wlan")
    network.run(5)
    assert network.row(1).bids == (network.bid("cell"),)
    assert network.path(1) == domain.MAG2


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_a_target_that_deregisters_fails_the_move_rfc5213_5_3_5(
    domain: type[Domain], switch: str
) -> None:
    network = with_flow(domain, switch=switch)
    lose(network, FMI, 1)
    token = network.move(1, "wlan")
    network.detach("mag1")
    network.run(0.5)
    assert "deregistered" in failure(network, token)
    assert network.path(1) == domain.MAG2
    network.run(20)
    assert network.path(1) == domain.MAG2
    assert network.row(1).active


def test_another_nodes_moves_survive_a_deregistration_rfc5213_5_3_5(
    domain: type[Domain],
) -> None:
    network = with_flow(domain)
    other = domain.pbu(network.seconds, mn=domain.OTHER_MN, link_layer=b"\2\0\0\0\4\1")
    network.inject(other, domain.MAG1)
    token = network.move(1, "wlan")
    leave = domain.pbu(
        network.seconds + 0.001,
        mn=domain.OTHER_MN,
        link_layer=b"\2\0\0\0\4\1",
        prefixes=(domain.P3,),
        handoff=4,
        lifetime=0,
    )
    network.inject(leave, domain.MAG1)
    network.run(0.1)
    assert network.replies[token].error is None
    assert network.path(1) == domain.MAG1


def test_removing_a_flow_ends_its_move_rfc7864_5_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    token = network.move(1, "wlan")
    removal = network.remove_flow(1)
    assert "removed" in failure(network, token)
    assert network.replies[removal].result == {"fid": 1}
    network.run(1)  # the FMA comes, and has nothing to move
    assert network.lma.core.flows.cache.rows(domain.MN) == ()
    assert network.lma.forwarding.flows == {}


def test_two_moves_to_one_mag_wait_for_each_other_rfc7864_4_2(domain: type[Domain]) -> None:
    """Each FMI is a whole set, so of two that are under way the wrong one could come last."""
    network = domain.network("unique")
    third = domain.pbu(network.seconds, technology=5, link_layer=b"\2\0\0\0\3\1")
    network.inject(third, domain.MAG2)
    network.run(0.1)
    network.messages()
    for fid, prefix in ((1, domain.P2), (2, domain.P3), (3, domain.P2)):
        network.add_flow(fid, "cell" if fid != 2 else str(3), prefix)
    lose(network, FMI, 1)
    tokens = [network.move(fid, "wlan") for fid in (1, 2, 3)]
    assert network.messages() == ["FMI lma>mag1"]
    network.run(1.1)
    assert network.messages() == [*ROUND_TRIP, *ROUND_TRIP]
    assert [network.replies[token].error for token in tokens] == [None] * 3
    assert network.off_link("mag1") == {domain.P2, domain.P3}
    assert [network.path(fid) for fid in (1, 2, 3)] == [domain.MAG1] * 3


def test_a_refresh_does_not_take_an_fmi_back_rfc7864_3_3(domain: type[Domain]) -> None:
    """The PBA that crosses the FMI is a whole set as well."""
    network = with_flow(domain)
    token = network.move(1, "wlan")
    refresh = domain.pbu(network.seconds, prefixes=(domain.P1,), handoff=5)
    network.lma.core.receive(refresh, domain.MAG1, domain.at(network.seconds))
    (pba,) = domain.of(Send, network.lma.taken())
    assert domain.prefixes(pba.message, off_link=True) == [domain.P2]
    network.run(0.1)
    assert network.replies[token].error is None


def test_at_attach_the_pba_has_the_other_prefixes_rfc7864_3_3(domain: type[Domain]) -> None:
    network = domain.network("unique", prefix_delivery="at-attach")
    network.run(0.1)
    assert network.off_link("mag1") == {domain.P2}  # by FMI: it was there already
    assert network.off_link("mag2") == {domain.P1}  # by PBA
    network.add_flow(1, "cell", domain.P2)
    network.messages()
    network.move(1, "wlan")
    network.run(0.1)
    assert network.messages() == []
    assert network.path(1) == domain.MAG1


def test_without_at_attach_there_is_no_l_bit_before_a_move_rfc7864_3_2_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    assert (network.off_link("mag1"), network.off_link("mag2")) == (set(), set())


def test_a_row_is_inactive_only_if_all_its_bindings_are_gone_rfc7864_5_2(
    domain: type[Domain],
) -> None:
    network = with_flow(domain, "shared")
    both = (network.bid("cell"), network.bid("wlan"))
    network.lma.core.flows.cache.rebind(domain.MN, 1, both)
    network.detach("mag2")
    network.run(0.1)
    assert (network.row(1).active, network.path(1)) == (True, domain.MAG1)
    network.detach("mag1")
    network.run(0.1)
    assert (network.row(1).active, network.path(1)) == (False, None)
    network.attach("mag2")
    network.run(0.1)
    assert (network.row(1).active, network.path(1)) == (True, domain.MAG2)


def test_the_bid_of_an_inactive_row_is_nobody_elses_rfc7864_5_1(domain: type[Domain]) -> None:
    """BIDs have 16 bits, and rows outlive bindings: a later binding with the same BID would get
    the flows of an earlier one, even those of another mobile node."""
    lma = domain.lma(MobileNodePolicy(prefix_model="unique"))
    lma.receive(domain.pbu())
    (first,) = lma.core.bindings
    row = FlowMobilityCacheEntry(1, 1, IPv6TrafficSelector.of(protocol=17), (first.bid,))
    lma.core.add_flow(domain.MN, row, 1, domain.at(1))
    lma.receive(domain.pbu(2, lifetime=0), 2)
    lma.timer(12.1)
    lma.core.bindings.next_bid = first.bid
    lma.receive(domain.pbu(13, mn=domain.OTHER_MN), 13)
    (second,) = lma.core.bindings
    assert second.bid != first.bid
    ((_, left),) = lma.core.flows.cache.all_rows()
    assert not left.active


def test_an_inactive_row_does_not_affect_traffic_rfc7864_5_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    network.move(1, "wlan")
    network.run(0.1)
    network.detach("mag1")
    network.run(0.1)
    assert not network.row(1).active
    assert network.path(1) is None  # so the default path of its prefix, by MAG 2
    assert network.lma.forwarding.routes[domain.P2] == domain.MAG2


def test_a_revived_binding_gets_back_what_its_flows_need_rfc7864_3_3(
    domain: type[Domain],
) -> None:
    """Its MAG forgot the off-link prefixes with the deregistration; the PBA brings them back."""
    network = with_flow(domain)
    network.move(1, "wlan")
    network.run(0.1)
    network.detach("mag1")
    network.run(1)
    network.attach("mag1")
    network.run(0.1)
    assert network.path(1) == domain.MAG1
    assert network.off_link("mag1") == {domain.P2}
    assert network.mags["mag1"].forwarding.hosted == {
        ("mag1-mn", domain.P1),
        ("mag1-mn", domain.P2),
    }


def test_a_flow_that_starts_elsewhere_is_signalled_first_rfc7864_3_2_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    token = network.add_flow(1, "wlan", domain.P2)
    assert (network.path(1), token in network.replies) == (None, False)
    network.run(0.1)
    assert network.messages() == ROUND_TRIP
    assert network.replies[token] == Reply(token, {"fid": 1})
    assert network.path(1) == domain.MAG1


def test_a_flow_whose_prefix_the_mag_refuses_is_not_added_rfc7864_4_3(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    lose(network, FMI, 9)
    token = network.add_flow(1, "wlan", domain.P2)
    network.run(3)
    assert "not added" in failure(network, token)
    assert network.lma.core.flows.cache.get(domain.MN, 1) is None


def test_a_wide_flow_leaves_prefixes_of_new_sessions_alone_rfc7864_3_2_2(
    domain: type[Domain],
) -> None:
    """Packets to a prefix that the flow's MAG doesn't route stay on the default path."""
    network = domain.network("unique")
    network.detach("mag2")
    network.run(11)
    network.add_flow(1, "wlan", None)
    network.attach("mag2")
    network.run(0.1)
    ((_, flow),) = network.lma.forwarding.flows.items()
    assert flow.prefixes == (domain.P1,)
    network.move(1, "wlan")
    network.run(0.1)
    ((_, flow),) = network.lma.forwarding.flows.items()
    assert flow.prefixes == (domain.P1, domain.P2)


def test_dropping_needs_no_prefix_at_the_mag_rfc7864_5_2(domain: type[Domain]) -> None:
    network = domain.network("unique")
    token = network.add_flow(1, "wlan", domain.P2, action=FlowAction.DROP)
    assert network.replies[token].error is None
    assert network.messages() == []
    ((key, flow),) = network.lma.forwarding.flows.items()
    assert flow.entry.action is FlowAction.DROP
    assert network.lma.forwarding.targets == {key: (domain.MAG1,)}


def test_a_move_is_one_change_of_one_flow_rfc7864_5_2(domain: type[Domain]) -> None:
    network = with_flow(domain, "shared")
    network.add_flow(2, "cell", domain.P1)
    network.lma.core.move_flow(domain.MN, 2, network.bid("wlan"), 99, domain.at(1))
    (change,) = domain.of(ForwardFlows, network.lma.taken())
    assert [path for _, path in change.paths] == [(domain.MAG1,)]
    assert network.path(1) == domain.MAG2


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_a_handoff_of_the_target_fails_the_move_rfc5213_5_3_4(
    domain: type[Domain], switch: str
) -> None:
    network = with_flow(domain, switch=switch)
    lose(network, FMI, 1)
    token = network.move(1, "wlan")
    network.inject(domain.pbu(network.seconds, handoff=3), domain.MAG2)
    assert "another MAG" in failure(network, token)
    assert network.path(1) == domain.MAG2


def test_orders_that_make_no_sense_are_refused_rfc7864_5_2(domain: type[Domain]) -> None:
    network = with_flow(domain)
    flows = network.lma.core.flows
    wlan = network.bid("wlan")
    row = network.row(1)
    flows.move_flow(domain.MN, 2, wlan, 11, domain.at(0))
    flows.move_flow(domain.MN, 1, 99, 12, domain.at(0))
    flows.move_flow(domain.OTHER_MN, 1, wlan, 13, domain.at(0))
    flows.remove_flow(domain.MN, 2, 14)
    flows.add_flow(domain.MN, row, 15, domain.at(0))
    flows.add_flow(domain.OTHER_MN, row, 16, domain.at(0))
    replies = domain.of(Reply, network.lma.core.take_actions())
    network.detach("mag1")
    network.run(0.1)
    flows.move_flow(domain.MN, 1, wlan, 17, domain.at(0))
    replies += domain.of(Reply, network.lma.core.take_actions())
    assert [reply.token for reply in replies] == [11, 12, 13, 14, 15, 16, 17]
    assert all(reply.error for reply in replies)
    assert network.row(1) == row
