"""When the first packets on a flow's new path wait, and for how long. No RFC has it."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import (
    Action,
    EndHold,
    ForwardFlows,
    HoldFlows,
    InstallFlow,
    ReleaseFlows,
    RemoveFlow,
)
from nodes.config import MobileNodePolicy
from nodes.controller_config import ControllerConfig
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.lma.path_hold import MARGIN_S, PathHolds
from nodes.wire.traffic_selector import IPv6TrafficSelector

if TYPE_CHECKING:
    from tests.domain import Domain

HOLD_MS = 40
KEY, OTHER = 0x10001, 0x10002
Path = tuple[IPv6Address, ...]


class Holds:
    """Flows KEY and OTHER at MAG 1, in a domain whose mobile nodes have `hold_ms`."""

    def __init__(self, domain: type[Domain], hold_ms: int = HOLD_MS) -> None:
        self.domain = domain
        self.outbox = PathHolds(domain.lma_config(MobileNodePolicy(hold_ms=hold_ms)))
        self.install(KEY)
        self.install(OTHER)
        self.forward({KEY: (domain.MAG1,), OTHER: (domain.MAG1,)}, 0.0)

    def install(self, key: int, action: FlowAction = FlowAction.FORWARD) -> None:
        selector = IPv6TrafficSelector.of(protocol=17)
        row = FlowMobilityCacheEntry(key, key - KEY + 1, selector, (1,), action)
        self.outbox.put(InstallFlow(key, row, (self.domain.P1,), self.domain.MN))

    def forward(self, paths: dict[int, Path], seconds: float) -> list[Action]:
        """What comes of it at once."""
        self.outbox.put(ForwardFlows(tuple(paths.items())))
        self.outbox.settle(self.domain.at(seconds))
        return self.outbox.take()

    def later(self) -> list[tuple[float, Action]]:
        """What comes of it when the timer is due, and when that is."""
        found = []
        while (due := self.outbox.deadline()) is not None:
            self.outbox.handle_timer(self.domain.at(due))
            found += [(due, action) for action in self.outbox.take()]
        return found


@pytest.fixture
def holds(domain: type[Domain]) -> Holds:
    return Holds(domain)


def test_the_first_packets_of_a_move_wait_until_the_old_path_is_empty(
    domain: type[Domain], holds: Holds
) -> None:
    hold, forward = holds.forward({KEY: (domain.MAG2,)}, 5.0)
    assert hold == HoldFlows(1, (KEY,), HOLD_MS), "the kernel has to know before the flow moves"
    assert isinstance(forward, ForwardFlows)
    (released, release), (ended, end) = holds.later()
    assert (released, release) == (pytest.approx(5.04), ReleaseFlows(1))
    assert end == EndHold(1)
    # What came just before the release waits for as long as the hold lasts.
    assert ended == pytest.approx(5.08 + MARGIN_S)


def test_flows_that_move_together_wait_together(domain: type[Domain], holds: Holds) -> None:
    hold, _ = holds.forward({KEY: (domain.MAG2,), OTHER: (domain.MAG2,)}, 5.0)
    assert hold == HoldFlows(1, (KEY, OTHER), HOLD_MS)


def test_each_move_is_a_hold_of_its_own(domain: type[Domain], holds: Holds) -> None:
    holds.forward({KEY: (domain.MAG2,)}, 5.0)
    hold, _ = holds.forward({KEY: (domain.MAG1,)}, 5.01)
    assert hold == HoldFlows(2, (KEY,), HOLD_MS)
    order = [action for _, action in holds.later()]
    assert order == [ReleaseFlows(1), ReleaseFlows(2), EndHold(1), EndHold(2)]


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ([("MAG1", "MAG2")], "the old path is still one of them"),
        ([("MAG1", "MAG2"), ("MAG2",)], "packets take that path already"),
        ([("MAG1",)], "nothing changes"),
        ([(), ("MAG2",)], "the default path isn't one of the flow's own"),
    ],
)
def test_nothing_waits(
    domain: type[Domain], holds: Holds, paths: list[tuple[str, ...]], why: str
) -> None:
    for path in paths:
        targets = tuple(getattr(domain, name) for name in path)
        actions = holds.forward({KEY: targets}, 5.0)
        assert [type(action) for action in actions] == [ForwardFlows], why
    assert holds.later() == []


def test_packets_that_are_dropped_do_not_wait(domain: type[Domain], holds: Holds) -> None:
    holds.install(KEY, FlowAction.DROP)
    holds.outbox.take()
    assert len(holds.forward({KEY: (domain.MAG2,)}, 5.0)) == 1


def test_a_flow_that_was_removed_is_a_new_one(domain: type[Domain], holds: Holds) -> None:
    holds.outbox.put(RemoveFlow(KEY))
    holds.install(KEY)
    holds.outbox.take()
    assert len(holds.forward({KEY: (domain.MAG2,)}, 5.0)) == 1


def test_off_by_default(domain: type[Domain]) -> None:
    assert MobileNodePolicy().hold_ms == 0
    holds = Holds(domain, hold_ms=0)
    assert len(holds.forward({KEY: (domain.MAG2,)}, 5.0)) == 1
    assert holds.outbox.deadline() is None


@pytest.mark.parametrize("switch", ["on-ack", "on-send"])
def test_a_signalled_move_is_held_once_it_switches(domain: type[Domain], switch: str) -> None:
    network = domain.network(hold_ms=HOLD_MS, switch=switch)
    network.add_flow(1, "wlan", domain.P1)
    network.run(0.1)
    holds = network.lma.forwarding.holds
    assert not holds, "an added flow is none that moves"
    network.move(1, "cell")
    assert len(holds) == (switch == "on-send")
    network.run(0.1)
    ((hold, *_),) = holds.values()
    assert isinstance(hold, HoldFlows)
    assert hold.hold_ms == HOLD_MS
    network.run(0.2)
    assert [type(step) for step in holds[hold.hold]] == [HoldFlows, ReleaseFlows, EndHold]
    assert network.lma.core.holds.deadline() is None


def test_only_tunnels_hold(domain: type[Domain]) -> None:
    settings: dict[str, Any] = {
        "data_plane": "sdn-assisted",
        "controller": ControllerConfig(address=domain.LMA),
    }
    domain.lma_config(**settings)
    error = r'mobile_nodes.mn1@example.org.hold_ms is 40, and data_plane is "sdn-assisted"; expec'
    with pytest.raises(ValueError, match=error):
        domain.lma_config(MobileNodePolicy(hold_ms=HOLD_MS), **settings)
