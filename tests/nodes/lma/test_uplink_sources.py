"""RFC 5213 section 5.6.2: what comes out of a tunnel is from a mobile node's home address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.actions import AcceptSources, CloseTunnel

if TYPE_CHECKING:
    from tests.domain import Domain


def test_a_mag_sends_for_the_nodes_that_it_has_registered_rfc5213_5_6_2(
    domain: type[Domain],
) -> None:
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    anchor.receive(domain.pbu(mn=domain.OTHER_MN), source=domain.MAG2)
    assert anchor.forwarding.sources == {(domain.MAG1, domain.P1), (domain.MAG2, domain.P2)}


def test_a_node_may_use_either_of_its_accesses_rfc7864_3_2_2(domain: type[Domain]) -> None:
    """A flow that moves has the other interface's prefix."""
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    anchor.receive(
        domain.pbu(1, technology=domain.CELL, link_layer=domain.LINK_LAYER_2), 1, domain.MAG2
    )
    both = {(mag, net) for mag in (domain.MAG1, domain.MAG2) for net in (domain.P1, domain.P2)}
    assert anchor.forwarding.sources == both


def test_a_handoff_takes_it_from_the_mag_before_rfc5213_5_3_4(domain: type[Domain]) -> None:
    """While its tunnel is there."""
    anchor = domain.lma()
    anchor.receive(domain.pbu())
    actions = anchor.receive(domain.pbu(1, prefixes=(domain.P1,), handoff=3), 1, domain.MAG2)
    assert anchor.forwarding.sources == {(domain.MAG2, domain.P1)}
    kinds = [type(action) for action in actions]
    assert kinds.index(AcceptSources) < kinds.index(CloseTunnel)


def test_what_was_on_its_way_at_deregistration_arrives_rfc5213_5_3_5(
    domain: type[Domain],
) -> None:
    anchor = domain.lma(min_delay_before_bce_delete_ms=10_000)
    anchor.receive(domain.pbu())
    anchor.receive(domain.pbu(1, prefixes=(domain.P1,), handoff=4, lifetime=0), 1)
    assert anchor.forwarding.sources == {(domain.MAG1, domain.P1)}
    anchor.timer(11.1)
    assert anchor.forwarding.sources == set()
