"""A model of the kernel's policy routing, in the place of `nodes.kernel.routing.Routing`: what
becomes of a packet, by the rules and routes that a daemon has set."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

import pytest

from nodes.actions import Action
from nodes.config import AccessProfile
from nodes.kernel import mag_forwarding
from nodes.kernel.mag_forwarding import MagForwarding
from nodes.kernel.netlink import RT_TABLE_LOCAL, RT_TABLE_MAIN, RuleMatch
from tests.domain import LMA, MAG1, Forwarding

if TYPE_CHECKING:
    from tests.domain import Domain, Gateway

DROP, HERE = "drop", "here"
LINK_SCOPE = (IPv6Network("fe80::/10"), IPv6Network("ff00::/8"))
LINK_MTU = 1500


@dataclass
class PolicyRouting:
    local: set[IPv6Address] = field(default_factory=set)
    path_mtu: int = LINK_MTU
    rules: list[tuple[int, RuleMatch, int | None]] = field(default_factory=list)
    tables: dict[int, dict[IPv6Network, tuple[str, IPv6Address | None]]] = field(
        default_factory=dict
    )
    tunnels: dict[str, tuple[IPv6Address, IPv6Address]] = field(default_factory=dict)
    mtus: dict[str, int] = field(default_factory=dict)
    neighbours: dict[str, tuple[IPv6Address, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules = [(0, RuleMatch(), RT_TABLE_LOCAL), (32766, RuleMatch(), RT_TABLE_MAIN)]

    def fate(
        self, incoming: str, source: IPv6Address, destination: IPv6Address, mark: int = 0
    ) -> str:
        """Where a packet that came in over `incoming` goes: an interface, HERE, or DROP."""
        for _, match, table in sorted(self.rules, key=lambda rule: rule[0]):
            if (
                (match.incoming not in (None, incoming))
                or (match.source is not None and source not in match.source)
                or (match.destination is not None and destination not in match.destination)
                or (match.mark is not None and match.mark != mark & match.mark_mask)
            ):
                continue
            if table is None:
                return DROP
            found = self._look_up(table, destination)
            if found is not None:
                return found
        return DROP

    def _look_up(self, table: int, destination: IPv6Address) -> str | None:
        if table == RT_TABLE_LOCAL:
            own = destination in self.local or any(destination in scope for scope in LINK_SCOPE)
            return HERE if own else None
        routes = self.tables.get(table, {})
        fitting = [network for network in routes if destination in network]
        return routes[max(fitting, key=lambda n: n.prefixlen)][0] if fitting else None

    def sweep(self, tunnels: str, tables: object, priorities: tuple[int, ...]) -> None:
        self.rules = [rule for rule in self.rules if rule[0] not in priorities]

    def add_rule(self, priority: int, match: RuleMatch, table: int | None) -> None:
        assert (priority, match, table) not in self.rules, "File exists"
        self.rules.append((priority, match, table))

    def delete_rule(self, priority: int, match: RuleMatch, table: int | None) -> None:
        self.rules.remove((priority, match, table))

    def remove_rule(self, match: RuleMatch, table: int) -> None:
        for rule in sorted(self.rules, key=lambda rule: rule[0]):
            if rule[1:] == (match, table):
                self.rules.remove(rule)
                return

    def add_tunnel(self, name: str, local: IPv6Address, remote: IPv6Address) -> None:
        assert name not in self.tunnels, "File exists"
        self.tunnels[name] = (local, remote)
        self.mtus[name] = LINK_MTU - 40

    def delete_link(self, name: str) -> None:
        del self.tunnels[name]
        self.take_down(name)

    def take_down(self, name: str) -> None:
        """An interface goes down, and its routes with it."""
        for routes in self.tables.values():
            for network in [n for n, (interface, _) in routes.items() if interface == name]:
                del routes[network]

    def replace_route(
        self,
        destination: IPv6Network,
        interface: str,
        *,
        gateway: IPv6Address | None = None,
        table: int = RT_TABLE_MAIN,
        mtu: int | None = None,
    ) -> None:
        self.tables.setdefault(table, {})[destination] = (interface, gateway)

    def set_neighbour(self, interface: str, address: IPv6Address, mac: str) -> None:
        self.neighbours[interface] = (address, mac)

    def block(self, destination: IPv6Network, *, table: int = RT_TABLE_MAIN) -> None:
        self.tables.setdefault(table, {})[destination] = (DROP, None)

    def delete_route(self, destination: IPv6Network, *, table: int = RT_TABLE_MAIN) -> None:
        self.tables.get(table, {}).pop(destination, None)

    def mtu(self, interface: str) -> int:
        return self.mtus.get(interface, LINK_MTU)

    def set_mtu(self, interface: str, mtu: int) -> None:
        self.mtus[interface] = mtu

    def close(self) -> None:
        pass


@dataclass
class RoutedForwarding(Forwarding):
    """The model of `tests.domain`, and a MAG's real forwarding over a model of the kernel."""

    kernel: PolicyRouting = field(default_factory=PolicyRouting)
    mag: MagForwarding | None = None

    def perform(self, action: Action) -> None:
        super().perform(action)
        assert self.mag is not None
        self.mag.perform(action)


def routed(monkeypatch: pytest.MonkeyPatch, gateway: Gateway) -> PolicyRouting:
    """`gateway`, from now on, with its forwarding state in the kernel's model."""
    kernel = PolicyRouting({MAG1})
    kernel.tables[RT_TABLE_MAIN] = {IPv6Network("::/0"): ("mag1-core", None)}
    monkeypatch.setattr(mag_forwarding, "Routing", lambda: kernel)
    monkeypatch.setattr(mag_forwarding, "path_mtu", lambda destination: kernel.path_mtu)
    gateway.forwarding = RoutedForwarding(kernel=kernel, mag=MagForwarding(gateway.core.config))
    return kernel


def two_nodes(domain: type[Domain], monkeypatch: pytest.MonkeyPatch, **changes: object) -> Gateway:
    """A MAG with two mobile nodes that are registered, and each has a prefix."""
    own = changes.pop("local_routing", (None, None))
    assert isinstance(own, tuple)
    profiles = {
        f"mag1-{name}": AccessProfile(
            mn_id=mn,
            access_technology=4,
            link_layer_id=f"02:00:00:00:01:0{number}",
            local_routing=own[number - 1],
        )
        for number, name, mn in ((1, "mn", domain.MN), (2, "other", domain.OTHER_MN))
    }
    gateway = domain.mag(access_interfaces=profiles, **changes)
    routed(monkeypatch, gateway)
    for interface, prefix in (("mag1-mn", domain.P1), ("mag1-other", domain.P2)):
        gateway.core.link_up(interface, domain.at(0))
        request = gateway.core.bindings[interface].request
        assert request is not None
        gateway.taken()
        gateway.receive(domain.acceptance(request, [prefix]), 0.02, LMA)
    return gateway
