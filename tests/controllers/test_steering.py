"""In which order the rules of an owner change (controllers/steering.py)."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from controllers.actions import Command
from controllers.fabric import Fabric, FabricDescription
from controllers.rules import Rules, base_rules, flow_rules, prefix_rules, redirect_rules
from controllers.steering import Changes, Plan, Steering
from controllers.switch_table import BASE, Owner, Status, Switch, flow_owner, prefix_owner
from tests.controllers.fabrics import HOME, LMA, MAG1, MAG2, MAG3, link, node, reference_fabric
from tests.controllers.model import default, flow, path

FLOW = flow(7, HOME, 80)
OWNER = flow_owner(7)


class Switches:
    """Those of a fabric, the reference one by default, ready and empty."""

    def __init__(self, fabric: Fabric | None = None) -> None:
        self.fabric = fabric or reference_fabric()
        self.switches = {name: Switch(name) for name in self.fabric.switches}
        self.gone: set[Owner] = set()
        for switch in self.switches.values():
            switch.status = Status.READY
        self.steering = Steering(self.fabric, self.switches, self.gone.__contains__)

    def put(self, rules: Rules) -> None:
        for name, its in rules.items():
            for rule in its:
                self.switches[name].table.put(rule)

    def to(self, *mags: IPv6Address) -> Rules:
        return flow_rules(self.fabric, FLOW, mags)

    def plan(self, wanted: Rules, owner: Owner = OWNER) -> Plan:
        plan = Plan()
        self.steering.plan(owner, wanted, plan)
        return plan


@pytest.fixture
def switches() -> Switches:
    return Switches()


def shown(changes: Changes) -> dict[str, list[Command]]:
    return {name: [change.command for change in its.values()] for name, its in changes.items()}


def test_where_no_packet_passes_rules_come_in_any_order(switches: Switches) -> None:
    switches.put(switches.to(MAG1))
    plan = switches.plan(switches.to(MAG2))
    assert shown(plan.together) == {"s4": [Command.ADD]}
    assert {depth: shown(its) for depth, its in plan.ordered.items()} == {
        1: {"s2": [Command.MODIFY]}
    }
    assert plan.step() is plan.together


def test_the_switch_where_packets_pass_is_next_and_the_old_far_end_has_to_wait(
    switches: Switches,
) -> None:
    switches.put(switches.to(MAG1))
    switches.put({"s4": switches.to(MAG2)["s4"]})
    plan = switches.plan(switches.to(MAG2))
    assert shown(plan.step()) == {"s2": [Command.MODIFY]}
    assert not plan.stale
    assert plan.held


def test_what_only_the_old_path_had_is_stale_when_no_packet_comes(switches: Switches) -> None:
    switches.put(switches.to(MAG1))
    switches.put(switches.to(MAG2))
    plan = switches.plan(switches.to(MAG2))
    assert not plan.step()
    assert shown(plan.stale) == {"s3": [Command.DELETE]}
    assert not plan.done


def test_the_farthest_switch_changes_first(switches: Switches) -> None:
    switches.put(prefix_rules(switches.fabric, default(HOME, MAG1)))
    switches.put(prefix_rules(switches.fabric, default(HOME, MAG2)))
    plan = switches.plan(flow_rules(switches.fabric, FLOW, (MAG3, MAG1)))
    assert sorted(plan.ordered) == [1, 2]
    both = flow_rules(switches.fabric, FLOW, (MAG3, MAG1))
    assert sorted(plan.step()) == ["s1", "s3"], "what changes no way goes first"
    switches.put({"s1": both["s1"], "s3": both["s3"]})
    assert list(switches.plan(both).step()) == ["s4"]
    switches.put({"s4": both["s4"]})
    assert list(switches.plan(both).step()) == ["s2"]


def test_a_flow_that_goes_leaves_the_default_path_from_the_near_end(switches: Switches) -> None:
    switches.put(prefix_rules(switches.fabric, default(HOME, MAG1)))
    switches.put(switches.to(MAG2))
    plan = switches.plan({})
    assert {depth: list(its) for depth, its in plan.removals.items()} == {0: ["s1"], 1: ["s2"]}
    assert list(plan.step()) == ["s1"]
    assert plan.held, "packets still come to s4"


def test_a_switch_that_is_not_ready_holds_up_those_nearer_to_the_lma(switches: Switches) -> None:
    switches.put(switches.to(MAG1))
    switches.switches["s4"].status = Status.LOST
    plan = switches.plan(switches.to(MAG2))
    assert plan.waiting == {"s4"}
    assert not plan.step()


def test_a_switch_that_is_right_as_far_as_known_holds_up_nothing(switches: Switches) -> None:
    switches.put(switches.to(MAG1))
    switches.switches["s1"].status = Status.LOST
    plan = switches.plan(switches.to(MAG2))
    assert shown(plan.step()) == {"s4": [Command.ADD]}
    assert not plan.waiting


def test_while_it_is_not_known_what_a_switch_has_no_far_end_goes(switches: Switches) -> None:
    switches.put(switches.to(MAG1))
    switches.put({"s4": switches.to(MAG2)["s4"]})
    lost = switches.switches["s2"]
    lost.status = Status.LOST
    lost.uncertain.add(OWNER)
    plan = switches.plan(switches.to(MAG1))
    assert not plan.stale
    assert plan.held
    assert plan.waiting == {"s2"}


def test_what_a_gone_flow_has_left_makes_way_for_a_new_path(switches: Switches) -> None:
    other = flow(8, HOME, 70, 90)
    switches.gone.add(flow_owner(8))
    left = flow_rules(switches.fabric, other, (MAG3,))
    switches.put({"s4": left["s4"]})
    plan = switches.plan(switches.to(MAG2))
    assert Command.DELETE in shown(plan.together)["s4"]
    switches.gone.clear()
    assert Command.DELETE not in shown(switches.plan(switches.to(MAG2)).together)["s4"]


def test_a_redirect_goes_at_once_when_the_flow_is_back_at_its_anchor(switches: Switches) -> None:
    rules = redirect_rules(switches.fabric, FLOW, path(7, MAG2, anchor=MAG1))
    switches.put(rules)
    plan = switches.plan({})
    assert {name: list(shown(its)) for name, its in plan.removals.items()} == {1: ["s2"]}
    assert not plan.stale


def test_a_redirect_that_goes_to_a_switch_farther_away_leaves_the_nearer_one_then(
    switches: Switches,
) -> None:
    """The nearer one catches all packets as long as it is there."""
    near = redirect_rules(switches.fabric, FLOW, path(7, MAG1, anchor=MAG2))
    far = redirect_rules(switches.fabric, FLOW, path(7, MAG3, anchor=MAG2))
    switches.put(near)
    plan = switches.plan(far)
    assert shown(plan.step()) == {"s4": [Command.ADD]}
    switches.put(far)
    plan = switches.plan(far)
    assert shown(plan.step()) == {"s2": [Command.DELETE]}


def test_a_redirect_that_goes_to_a_nearer_switch_leaves_the_farther_one_when_it_has_drained(
    switches: Switches,
) -> None:
    near = redirect_rules(switches.fabric, FLOW, path(7, MAG1, anchor=MAG2))
    far = redirect_rules(switches.fabric, FLOW, path(7, MAG3, anchor=MAG2))
    switches.put(far)
    assert shown(switches.plan(near).step()) == {"s2": [Command.ADD]}
    switches.put(near)
    plan = switches.plan(near)
    assert not plan.step()
    assert shown(plan.stale) == {"s4": [Command.DELETE]}


def test_the_anchors_own_copy_must_not_meet_an_old_redirect_behind(switches: Switches) -> None:
    both = redirect_rules(switches.fabric, FLOW, path(7, MAG1, MAG2, anchor=MAG2))
    old = redirect_rules(switches.fabric, FLOW, path(7, MAG3, anchor=MAG2))
    switches.put({**redirect_rules(switches.fabric, FLOW, path(7, MAG1, anchor=MAG2)), **old})
    plan = switches.plan(both)
    assert shown(plan.step()) == {"s4": [Command.DELETE]}
    assert not plan.stale


def test_a_switch_that_cannot_be_reached_with_an_old_redirect_holds_up_the_anchors_own_copy(
    switches: Switches,
) -> None:
    """It would be made several there."""
    wanted = redirect_rules(switches.fabric, FLOW, path(7, MAG1, MAG2, MAG3, anchor=MAG2))
    switches.put(redirect_rules(switches.fabric, FLOW, path(7, MAG3, anchor=MAG2)))
    switches.switches["s4"].status = Status.LOST
    plan = switches.plan(wanted)
    assert not plan.step()
    assert plan.waiting == {"s4"}
    other = redirect_rules(switches.fabric, FLOW, path(7, MAG1, anchor=MAG2))
    assert shown(switches.plan(other).step()) == {"s2": [Command.ADD]}


def test_a_near_redirect_stays_while_an_old_one_behind_the_next_cannot_be_reached() -> None:
    """lma - s1 (mag1) - s2 (mag2) - s3 (mag3, mag4), and s3 is lost."""
    mag4 = MAG3 + 1
    described = FabricDescription(
        switches=("s1", "s2", "s3"),
        links=(link("s1", 2, "s2", 1), link("s2", 2, "s3", 1)),
        lma=node("lma", LMA, 1, "s1", 1),
        mags=(
            node("mag1", MAG1, 2, "s1", 3),
            node("mag2", MAG2, 3, "s2", 3),
            node("mag3", MAG3, 4, "s3", 3),
            node("mag4", mag4, 5, "s3", 4),
        ),
    )
    switches = Switches(Fabric(described))
    for mag in (MAG1, mag4):
        switches.put(redirect_rules(switches.fabric, FLOW, path(7, mag, anchor=MAG3)))
    wanted = redirect_rules(switches.fabric, FLOW, path(7, MAG2, MAG3, anchor=MAG3))
    switches.switches["s3"].status = Status.LOST
    assert shown(switches.plan(wanted).step()) == {"s2": [Command.ADD]}
    switches.put(wanted)
    plan = switches.plan(wanted)
    assert not plan.step()
    assert plan.held
    switches.switches["s3"].status = Status.READY
    assert shown(switches.plan(wanted).step()) == {"s3": [Command.DELETE]}


def test_nor_comes_the_anchors_own_copy_while_it_is_not_known_what_is_behind(
    switches: Switches,
) -> None:
    wanted = redirect_rules(switches.fabric, FLOW, path(7, MAG1, MAG2, anchor=MAG2))
    lost = switches.switches["s4"]
    lost.status = Status.LOST
    assert shown(switches.plan(wanted).step()) == {"s2": [Command.ADD]}
    lost.uncertain.add(OWNER)
    assert switches.plan(wanted).waiting == {"s4"}
    assert not switches.plan(wanted).step()


def test_a_rule_of_another_owner_in_its_place_is_replaced_by_adding(switches: Switches) -> None:
    """Modifying can't change the cookie."""
    same = flow(8, HOME, 80, priority=FLOW.priority)
    switches.put(flow_rules(switches.fabric, same, (MAG1,)))
    plan = switches.plan(switches.to(MAG2))
    steps = [plan.together, *plan.ordered.values()]
    commands = [command for step in steps for its in shown(step).values() for command in its]
    assert set(commands) == {Command.ADD}
    assert "s2" in plan.ordered[1]


def test_base_rules_go_to_every_ready_switch_and_old_ones_are_stale(switches: Switches) -> None:
    wanted = base_rules(switches.fabric)
    old = wanted["s1"][0]
    switches.switches["s2"].status = Status.LOST
    switches.put({"s1": wanted["s1"]})
    plan = switches.plan({**wanted, "s1": wanted["s1"][1:]}, BASE)
    assert sorted(plan.together) == ["s3", "s4"]
    assert [c.rule for c in plan.stale["s1"].values()] == [old]


def test_nothing_to_do(switches: Switches) -> None:
    rules = prefix_rules(switches.fabric, default(HOME, MAG1))
    switches.put(rules)
    assert switches.plan(rules, prefix_owner(HOME)).done
