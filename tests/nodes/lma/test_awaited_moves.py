"""Moves that wait for the attachment of the mobile node: dynamic attachment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.actions import Action, ForwardFlows, Log, Reply, Send
from nodes.config import MobileNodePolicy
from nodes.lma.awaited_moves import AwaitedMove

if TYPE_CHECKING:
    from tests.domain import Domain, Network


def prepared(domain: type[Domain], **policy: Any) -> Network:
    """Flow 1 on the WLAN; the cell isn't attached."""
    network = domain.unattached(MobileNodePolicy(**policy))
    network.attach("mag1")
    network.run(0.1)
    network.add_flow(1, "wlan", domain.P1)
    return network


def order(domain: type[Domain], network: Network, token: int, fid: int = 1) -> list[Action]:
    at = domain.at(network.seconds)
    move = AwaitedMove(domain.MN, fid, "cell", token, at.monotonic + 2)
    network.lma.core.await_move(move, at)
    return network.lma.taken()


def test_the_flow_moves_when_the_session_is_there_rfc7864_3_2_1(domain: type[Domain]) -> None:
    network = prepared(domain)
    actions = order(domain, network, 50)
    assert [log.event for log in domain.of(Log, actions)] == ["decision"]
    assert domain.of(Reply, actions) == []
    update = domain.pbu(
        network.seconds,
        prefixes=(domain.P1,),
        handoff=6,
        technology=domain.CELL,
        link_layer=domain.LINK_LAYER_2,
    )
    actions = network.lma.receive(update, network.seconds, domain.MAG2)
    kinds = [type(action) for action in actions]
    # The PBA goes first, so that the MAG has the prefix when the first packet comes.
    assert kinds.index(Send) < kinds.index(ForwardFlows)
    assert network.path(1) == domain.MAG2
    (reply,) = domain.of(Reply, actions)
    assert (reply.token, reply.error) == (50, None)
    assert "decision" not in [log.event for log in domain.of(Log, actions)]
    (first, second) = network.lma.core.bindings
    assert first.prefixes == second.prefixes == (domain.P1,)
    assert network.lma.core.awaited.deadline() is None


def test_an_access_that_is_attached_is_not_waited_for(domain: type[Domain]) -> None:
    network = prepared(domain, prefix_model="shared")
    network.attach("mag2")
    network.run(0.1)
    (reply,) = domain.of(Reply, order(domain, network, 50))
    assert (reply.error, network.path(1)) == (None, domain.MAG2)


def test_it_waits_until_its_deadline(domain: type[Domain]) -> None:
    network = prepared(domain)
    order(domain, network, 50)
    due = network.seconds + 2
    assert network.lma.core.timer() == due
    assert domain.of(Reply, network.lma.timer(due - 0.001)) == []
    actions = network.lma.timer(due)
    (reply,) = domain.of(Reply, actions)
    assert reply.error == "the mobile node didn't attach there"
    assert "move-failed" in [log.event for log in domain.of(Log, actions)]
    assert network.lma.core.awaited.deadline() is None


def test_a_newer_order_replaces_the_one_that_waits(domain: type[Domain]) -> None:
    network = prepared(domain)
    order(domain, network, 50)
    (reply,) = domain.of(Reply, order(domain, network, 51))
    assert (reply.token, reply.error) == (50, "a newer move of this flow replaced it")


def test_unknown_flows_and_nodes_that_decide_are_refused_rfc7864_3_1(
    domain: type[Domain],
) -> None:
    network = prepared(domain)
    (reply,) = domain.of(Reply, order(domain, network, 50, fid=9))
    assert reply.error == f"fid is 9; {domain.MN} has no such flow"
    network = prepared(domain, prefix_model="shared", decision_maker="mn")
    (reply,) = domain.of(Reply, order(domain, network, 51))
    assert "decides for itself" in str(reply.error)
