"""Policies in a domain: reports in PBUs, orders, moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nodes.config import MobileNodePolicy
from nodes.strict import InputError
from nodes.wire.options import AccessLinkReport

if TYPE_CHECKING:
    from tests.nodes.conftest import Domain, Network

QUALITY = {"kind": "link-quality", "access": "wlan", "return_after_s": 2.0}


def network_with(domain: type[Domain], *policies: dict[str, Any], model: str = "shared") -> Network:
    network = domain.network(model, policies=policies)
    network.add_flow(1, "wlan", domain.P1)
    network.run(0.1)
    network.messages()
    return network


def report(network: Network, domain: type[Domain], **values: int) -> None:
    """A PBU of the WLAN's MAG that extends the binding and carries a report."""
    option = AccessLinkReport(**values)
    update = domain.pbu(network.seconds, prefixes=(domain.P1,), handoff=5, extra=(option,))
    network.inject(update, domain.MAG1)


def test_a_bad_link_moves_the_flow_and_a_good_one_brings_it_back(domain: type[Domain]) -> None:
    network = network_with(domain, QUALITY)
    report(network, domain, quality=60)
    assert network.path(1) == domain.MAG1
    network.run(1.0)
    report(network, domain, quality=10)
    assert network.path(1) == domain.MAG2
    network.run(1.0)
    report(network, domain, quality=90)
    network.run(1.9)
    assert network.path(1) == domain.MAG2
    network.run(0.2)
    assert network.path(1) == domain.MAG1
    assert network.events().count("triggered") == 2
    assert network.replies.keys() == {1}, "nobody waits for the reply to a policy's order"


def test_a_move_under_way_is_not_ordered_again(domain: type[Domain]) -> None:
    network = network_with(domain, QUALITY, model="unique")
    report(network, domain, quality=10)
    network.run(0.005)
    report(network, domain, quality=9)
    network.run(1.0)
    assert network.events().count("decision") == 1
    assert network.path(1) == domain.MAG2


def test_a_report_that_was_refused_does_not_count(domain: type[Domain]) -> None:
    network = network_with(domain, QUALITY)
    option = AccessLinkReport(quality=1)
    network.inject(domain.pbu(network.seconds, handoff=None, extra=(option,)), domain.MAG1)
    stale = domain.pbu(0.0, prefixes=(domain.P1,), handoff=5, extra=(option,))
    network.inject(stale, domain.MAG1)
    stranger = domain.pbu(network.seconds, mn="nobody@example.org", extra=(option,))
    network.inject(stranger, domain.MAG1)
    assert network.path(1) == domain.MAG1


def test_a_static_policy_makes_rows_of_its_own(domain: type[Domain]) -> None:
    selector = {"start_traffic_class": 184}
    rule = {"fid": 50, "priority": 50, "selector": selector, "accesses": ["cell", "wlan"]}
    network = network_with(domain, {"kind": "traffic-class", "rules": [rule]})
    assert network.path(50) == domain.MAG2
    network.detach("mag2")
    network.run(0.1)
    assert network.path(50) == domain.MAG1


def test_policies_that_disagree_come_to_an_end(domain: type[Domain]) -> None:
    rules = [
        {"fid": 50, "priority": 50, "selector": {}, "accesses": [access]}
        for access in ("wlan", "cell")
    ]
    kinds = [{"kind": "traffic-class", "rules": [rule]} for rule in rules]
    network = network_with(domain, *kinds)
    assert network.path(50) in (domain.MAG1, domain.MAG2)


def test_wrong_settings_stop_the_lma_before_it_serves(domain: type[Domain]) -> None:
    wrong = MobileNodePolicy(policies=({"kind": "link-quality", "acess": "wlan"},))
    with pytest.raises(InputError, match="did you mean 'access'"):
        domain.lma(wrong)
