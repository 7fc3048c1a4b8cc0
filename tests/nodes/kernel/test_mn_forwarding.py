"""The mobile node's routes, over a model of policy routing: the access that a packet leaves by."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from nodes.actions import PreferAccess, UseRouter
from nodes.config import MnConfig
from nodes.kernel import mn_forwarding
from nodes.kernel.mn_forwarding import MnForwarding
from tests.policy_routing import DROP, PolicyRouting

CONFIG = MnConfig(
    events=Path("/dev/null"),
    logical_interface="lif0",
    access_interfaces=("mn-wlan", "mn-cell"),
    interface_id=1,
)
ROUTER = IPv6Address("fe80::200:5eff:fe00:5213")
PEER = IPv6Address("2001:db8:ff::2")
WLAN, CELL = IPv6Network("2001:db8:100::/64"), IPv6Network("2001:db8:100:1::/64")
LENT = IPv6Network("2001:db8:100:2::/64")
UNMARKED, ON_WLAN, ON_CELL = 0, 1, 2


class RecordedTransactions:
    def run(self, *commands: str) -> None:
        pass


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> PolicyRouting:
    """Both accesses have a router, and each prefix is advertised on its own; `LENT` on none."""
    model = PolicyRouting()
    monkeypatch.setattr(mn_forwarding, "Routing", lambda: model)
    monkeypatch.setattr(mn_forwarding, "Transactions", RecordedTransactions)
    monkeypatch.setattr(mn_forwarding, "NETFILTER_SYSCTLS", tmp_path)
    forwarding = MnForwarding(CONFIG)
    for prefix, interface in ((WLAN, "mn-wlan"), (CELL, "mn-cell")):
        forwarding.perform(UseRouter(interface, ROUTER, 1460))
        forwarding.perform(PreferAccess(prefix, interface))
    return model


def leaves_by(kernel: PolicyRouting, prefix: IPv6Network, mark: int) -> str:
    return kernel.fate("lo", prefix[1], PEER, mark)


def test_packets_of_a_flow_leave_by_its_access_and_others_by_their_prefixs(
    kernel: PolicyRouting,
) -> None:
    assert [leaves_by(kernel, prefix, UNMARKED) for prefix in (WLAN, CELL)] == [
        "mn-wlan",
        "mn-cell",
    ]
    assert [leaves_by(kernel, prefix, ON_CELL) for prefix in (WLAN, CELL)] == ["mn-cell"] * 2
    assert [leaves_by(kernel, prefix, ON_WLAN) for prefix in (WLAN, CELL)] == ["mn-wlan"] * 2


def test_a_flow_whose_access_is_down_leaves_over_no_other_rfc7847_3_2(
    kernel: PolicyRouting,
) -> None:
    """Where a flow goes is for the network to say, and it says so by what it sends."""
    kernel.take_down("mn-cell")
    assert leaves_by(kernel, CELL, ON_CELL) == DROP
    assert leaves_by(kernel, CELL, ON_WLAN) == "mn-wlan"


def test_a_flow_that_was_moved_to_an_access_that_goes_down_returns_to_its_prefixs(
    kernel: PolicyRouting,
) -> None:
    """As at the LMA: the entry is inactive (RFC 7864 section 5.2), and the default path remains."""
    kernel.take_down("mn-cell")
    assert leaves_by(kernel, WLAN, ON_CELL) == "mn-wlan"


def test_a_prefix_that_no_access_advertises_has_a_route_for_the_flow_table_to_change(
    kernel: PolicyRouting,
) -> None:
    """The kernel looks for a route before it runs the chain that marks packets of a flow."""
    assert leaves_by(kernel, LENT, UNMARKED) in ("mn-wlan", "mn-cell")
    assert leaves_by(kernel, LENT, ON_CELL) == "mn-cell"
