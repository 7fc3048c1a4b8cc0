"""What the LMA tells MAGs of flow mobility, and when (RFC 7864 sections 3.3, 3.4 and 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.actions import ForwardFlows
from nodes.flow_mobility_cache import FlowAction
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import (
    BindingError,
    BindingErrorStatus,
    Message,
    ProxyBindingAcknowledgement,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.options import HomeNetworkPrefix
from nodes.wire.traffic_selector import IPv6TrafficSelector

if TYPE_CHECKING:
    from tests.domain import Domain, Network

FMI, FMA, PBA = UpdateNotification, UpdateNotificationAcknowledgement, ProxyBindingAcknowledgement
TO_1 = ["FMI lma>mag1", "FMA mag1>lma"]
TO_2 = ["FMI lma>mag2", "FMA mag2>lma"]


def contents(message: Message) -> tuple[list[tuple[object, bool]], list[int]]:
    """Prefixes, each with its L bit, and FIDs."""
    prefixes = message.all_options(HomeNetworkPrefix)
    flows = message.all_options(FlowIdentification)
    return [(o.prefix, o.off_link) for o in prefixes], [o.fid for o in flows]


def sent(network: Network, kind: type[Message]) -> list[Message]:
    """Those of a kind that were sent since the last call."""
    found = [sent.message for sent in network.sent if isinstance(sent.message, kind)]
    network.sent.clear()
    return found


def test_a_prefix_that_no_flow_needs_is_withdrawn_rfc7864_4_2(domain: type[Domain]) -> None:
    network = domain.network("unique", withdrawal_delay_ms=5_000)
    network.add_flow(1, "wlan", domain.P1)
    network.move(1, "cell")
    network.run(1)
    network.messages()
    network.move(1, "wlan")
    network.run(4.99)
    assert network.messages() == []
    assert network.off_link("mag2") == {domain.P1}
    network.run(0.05)
    # The last one: an FMI has one prefix at least, and the session's own, on-link, is left.
    (message,) = sent(network, FMI)
    assert contents(message) == ([(domain.P2, False)], [])
    assert network.off_link("mag2") == set()
    assert network.mags["mag2"].forwarding.hosted == {("mag2-mn", domain.P2)}
    network.run(100)
    assert sent(network, FMI) == []


def test_what_is_needed_again_in_time_stays_rfc7864_4_2(domain: type[Domain]) -> None:
    network = domain.network("unique", withdrawal_delay_ms=5_000)
    network.add_flow(1, "wlan", domain.P1)
    for access in ("cell", "wlan"):
        network.move(1, access)
        network.run(3)
    network.messages()
    network.move(1, "cell")
    network.run(100)
    assert sent(network, FMI) == []
    assert network.path(1) == domain.MAG2


def test_removing_the_flow_withdraws_its_prefix_rfc7864_4_2(domain: type[Domain]) -> None:
    network = domain.network("unique", withdrawal_delay_ms=1_000)
    network.add_flow(1, "cell", domain.P1)
    network.run(1)
    network.messages()
    network.remove_flow(1)
    network.run(2)
    assert network.messages() == TO_2
    assert network.off_link("mag2") == set()


def test_a_refused_withdrawal_is_not_repeated_rfc7077_5_2(domain: type[Domain]) -> None:
    network = domain.network("unique", withdrawal_delay_ms=100)
    network.add_flow(1, "cell", domain.P1)
    network.run(1)
    network.messages()
    network.remove_flow(1)
    network.fate = lambda message: () if isinstance(message, FMI) else (0.01,)
    network.run(0.2)
    (message,) = sent(network, FMI)
    assert isinstance(message, FMI)
    network.inject(FMA(message.sequence, 131), domain.MAG2)
    network.run(100)
    assert sent(network, FMI) == []
    # What the MAG didn't give up needs no signalling to be used again.
    network.fate = lambda message: (0.01,)
    network.add_flow(1, "cell", domain.P1)
    assert network.path(1) == domain.MAG2


def test_nothing_is_withdrawn_from_a_mag_without_update_notifications_rfc7077_5_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique", withdrawal_delay_ms=100)
    network.add_flow(1, "cell", domain.P1)
    network.run(1)
    network.inject(BindingError(BindingErrorStatus.UNRECOGNIZED_MH_TYPE), domain.MAG2)
    network.remove_flow(1)
    network.messages()
    network.run(100)
    assert sent(network, FMI) == []


def test_a_withdrawn_prefix_that_is_wanted_while_the_fmi_is_out_is_asked_for_anew_rfc7864_4_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique", withdrawal_delay_ms=0)
    network.add_flow(1, "cell", domain.P1)
    network.run(1)
    network.messages()
    network.move(1, "wlan")
    network.run(0.005)
    assert network.messages() == ["FMI lma>mag2"]
    token = network.move(1, "cell")
    assert (network.path(1), token in network.replies) == (domain.MAG1, False)
    network.run(0.1)
    assert network.replies[token].error is None
    assert network.off_link("mag2") == {domain.P1}
    assert network.path(1) == domain.MAG2


def test_a_refresh_that_crosses_an_fmi_says_the_same_rfc7864_3_3(domain: type[Domain]) -> None:
    """Whichever comes last is the whole set, and an FMI may come again a second later."""
    network = domain.network("unique", withdrawal_delay_ms=0)
    network.add_flow(1, "cell", domain.P1)
    network.run(1)
    network.remove_flow(1)
    network.run(0.001)
    refresh = domain.pbu(
        network.seconds,
        prefixes=(domain.P2,),
        handoff=5,
        technology=domain.CELL,
        link_layer=domain.LINK_LAYER_2,
    )
    network.sent.clear()
    network.inject(refresh, domain.MAG2)
    (answer,) = sent(network, PBA)
    assert contents(answer) == ([(domain.P2, False)], [])


def test_flows_are_told_with_their_selectors_rfc7864_3_4(domain: type[Domain]) -> None:
    network = domain.network("unique", granularity="flow")
    network.add_flow(1, "wlan", domain.P1)
    network.add_flow(2, "wlan", domain.P1)
    network.run(0.1)
    first, second = sent(network, FMI)
    # In a prefix that the MAG has on-link, too (RFC 7864 section 3.4); the second is the whole set.
    assert contents(first) == ([(domain.P1, False)], [1])
    assert contents(second) == ([(domain.P1, False)], [1, 2])
    network.move(1, "cell")
    network.run(0.1)
    (there,) = sent(network, FMI)
    assert contents(there) == ([(domain.P1, True)], [1])
    (option,) = there.all_options(FlowIdentification)
    selector = IPv6TrafficSelector.of(destination=domain.P1, protocol=17)
    assert option == FlowIdentification(1, 1, sub_options=(selector,))
    network.run(11)
    (left,) = sent(network, FMI)
    assert contents(left) == ([(domain.P1, False)], [2])


def test_a_common_prefix_needs_signalling_for_flows_rfc7864_3_4(domain: type[Domain]) -> None:
    network = domain.network("shared", granularity="flow")
    network.add_flow(1, "wlan", domain.P1)
    token = network.move(1, "cell")
    assert token not in network.replies
    network.run(0.1)
    messages = sent(network, FMI)
    assert [contents(message) for message in messages] == [([(domain.P1, False)], [1])] * 2
    assert network.path(1) == domain.MAG2


def test_flows_are_in_the_pba_that_renews_rfc7864_3_4(domain: type[Domain]) -> None:
    network = domain.network("unique", granularity="flow")
    network.add_flow(1, "cell", domain.P1)
    network.run(0.1)
    network.detach("mag2")
    network.run(1)
    network.sent.clear()
    network.attach("mag2")
    network.run(0.1)
    (answer,) = sent(network, PBA)
    assert contents(answer) == ([(domain.P2, False), (domain.P1, True)], [1])
    assert network.path(1) == domain.MAG2


def test_drop_is_between_lma_and_nobody_rfc7864_5_2(domain: type[Domain]) -> None:
    """RFC 7864's action has no encoding, and packets that the LMA drops reach no MAG."""
    network = domain.network("unique", granularity="flow")
    network.add_flow(1, "wlan", domain.P1, action=FlowAction.DROP)
    network.run(0.1)
    assert network.messages() == []


def test_a_flow_that_the_mag_refuses_fails_its_move_alone_rfc6089_4_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique", granularity="flow")
    network.add_flow(1, "wlan", domain.P1)
    network.add_flow(2, "wlan", domain.P1)
    network.run(0.1)
    network.fate = lambda message: () if isinstance(message, FMI) else (0.01,)
    tokens = [network.move(fid, "cell") for fid in (1, 2)]
    sequences = []
    for refused in (133, 0):
        message = [m.message for m in network.sent if isinstance(m.message, FMI)][-1]
        assert isinstance(message, FMI)
        sequences.append(message.sequence)
        options = (
            *message.all_options(HomeNetworkPrefix),
            *(
                FlowIdentification(o.fid, o.priority, refused if o.fid == 1 else 0)
                for o in message.all_options(FlowIdentification)
            ),
        )
        network.inject(FMA(message.sequence, 0, options), domain.MAG2)
    assert sequences[0] != sequences[1]
    error = network.replies[tokens[0]].error
    assert error is not None
    assert "refused flow 1 with status 133" in error
    assert network.replies[tokens[1]].error is None
    assert (network.path(1), network.path(2)) == (domain.MAG1, domain.MAG2)
    assert "flow-refused" in network.events()


def test_one_order_for_several_flows_is_one_fmi_and_one_change_rfc7864_4_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    for fid in (1, 2, 3):
        network.add_flow(fid, "wlan", domain.P1)
    core = network.lma.core
    core.move_flows(domain.MN, (1, 3), (network.bid("cell"),), 99, domain.at(network.seconds))
    network.take_from_lma()
    changes = []
    original = network.lma.forwarding.perform
    network.lma.forwarding.perform = lambda a: (changes.append(a), original(a))[1]  # type: ignore[method-assign,func-returns-value]
    network.run(0.1)
    assert network.messages() == TO_2
    (change,) = [action for action in changes if isinstance(action, ForwardFlows)]
    assert [path for _, path in change.paths] == [(domain.MAG2,)] * 2
    assert network.replies[99].result == {"flows": [{"fid": 1, "move": 1}, {"fid": 3, "move": 2}]}
    assert [network.path(fid) for fid in (1, 2, 3)] == [domain.MAG2, domain.MAG1, domain.MAG2]


def test_an_order_for_several_flows_is_all_or_nothing_rfc7864_4_3(domain: type[Domain]) -> None:
    network = domain.network("unique", switch="on-send")
    for fid in (1, 2):
        network.add_flow(fid, "wlan", domain.P1)
    network.fate = lambda message: ()
    token = network.move([1, 2], ["wlan", "cell"])
    assert network.paths(1) == (domain.MAG1, domain.MAG2)
    network.run(5)
    error = network.replies[token].error
    assert error is not None
    assert "didn't answer" in error
    assert network.paths(1) == network.paths(2) == (domain.MAG1,)


def test_a_newer_order_takes_its_flow_out_of_an_older_one_rfc7864_5_2(
    domain: type[Domain],
) -> None:
    network = domain.network("unique")
    for fid in (1, 2):
        network.add_flow(fid, "wlan", domain.P1)
    older = network.move([1, 2], "cell")
    newer = network.move(1, "wlan")
    network.run(0.1)
    assert network.replies[newer].error is None
    assert network.replies[older].result == {"flows": [{"fid": 2, "move": 2}]}
    assert (network.path(1), network.path(2)) == (domain.MAG1, domain.MAG2)


def test_several_bindings_are_several_paths_rfc6089_5_3_6(domain: type[Domain]) -> None:
    network = domain.network("unique")
    token = network.add_flow(1, ["wlan", "cell"], domain.P1)
    # Until the other MAG has the prefix, there is no copy for it, and the default path serves.
    assert network.paths(1) == ()
    network.run(0.1)
    assert network.messages() == TO_2
    assert network.replies[token].error is None
    assert network.paths(1) == (domain.MAG1, domain.MAG2)
    network.detach("mag1")
    network.run(0.1)
    assert network.paths(1) == (domain.MAG2,)
    assert network.row(1).active
    network.detach("mag2")
    network.run(0.1)
    assert network.paths(1) == ()
    assert not network.row(1).active
