"""Routes, rules and tunnels that an earlier start has left: what is asked for again isn't touched.
tests/system/test_restarts.py has it in a kernel."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from nodes.kernel import netlink_dump
from nodes.kernel.adoption import AdoptingRouting
from nodes.kernel.netlink import RT_TABLE_LOCAL, RT_TABLE_MAIN, RTPROT_STATIC, RuleMatch
from nodes.kernel.netlink_dump import Route, Rule, Tunnel
from nodes.kernel.routing import Routing

OWN, MAG1, MAG2, MAG3 = (IPv6Address(f"2001:db8:10::{n}") for n in range(4))
HOMES = tuple(IPv6Network(f"2001:db8:100:{n}::/64") for n in range(5))
DEFAULT, LINK = IPv6Network("::/0"), IPv6Network("2001:db8:99::/64")
INDICES = {"mag1": 11, "mag2": 12, "eth0": 2}
KERNEL = 2


def route(table: int, to: IPv6Network, index: int | None, protocol: int = RTPROT_STATIC) -> Route:
    return Route(table, to, index, None, protocol)


MATCH = {mark: RuleMatch(mark=mark, mark_mask=0xFFF) for mark in (1, 2, 3)}
LEFT = (
    route(RT_TABLE_MAIN, HOMES[0], 11),
    route(RT_TABLE_MAIN, HOMES[1], 12),
    route(RT_TABLE_MAIN, HOMES[2], None),
    route(RT_TABLE_MAIN, HOMES[3], None),
    route(1001, DEFAULT, 11),
    route(1002, DEFAULT, 12),
    route(RT_TABLE_MAIN, LINK, 2),
    route(RT_TABLE_MAIN, HOMES[4], 11, KERNEL),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the kernel is asked to do."""
    told: list[tuple[object, ...]] = []

    def record(name: str) -> None:
        def method(self: Routing, *arguments: object, **named: object) -> None:
            told.append((name, *arguments, *named.values()))

        monkeypatch.setattr(Routing, name, method)

    for name in ("add_tunnel", "delete_link", "block", "delete_route", "add_rule", "delete_rule"):
        record(name)
    record("replace_route")
    record("remove_rule")
    monkeypatch.setattr(Routing, "index", lambda self, name: INDICES[name])
    tunnels = {"mag1": Tunnel(OWN, MAG1), "mag2": Tunnel(OWN, MAG2), "magic": Tunnel(OWN, MAG3)}
    rules = [Rule(100, MATCH[mark], 1000 + mark) for mark in (1, 2)]
    rules += [Rule(0, RuleMatch(), RT_TABLE_LOCAL), Rule(200, RuleMatch(), RT_TABLE_LOCAL)]
    monkeypatch.setattr(netlink_dump, "tunnels", lambda channel: tunnels)
    monkeypatch.setattr(netlink_dump, "routes", lambda channel: iter(LEFT))
    monkeypatch.setattr(netlink_dump, "rules", lambda channel: iter(rules))
    return told


def adopting() -> AdoptingRouting:
    return AdoptingRouting("mag", range(1000, 2000), (100, 200), set(HOMES).__contains__)


def test_what_is_asked_for_again_is_not_touched(asked: list[tuple[object, ...]]) -> None:
    routing = adopting()
    assert routing.tunnel_to(MAG1) == "mag1"
    assert routing.tunnel_to(MAG3) is None
    routing.add_tunnel("mag1", OWN, MAG1)
    routing.replace_route(DEFAULT, "mag1", table=1001)
    routing.add_rule(100, MATCH[1], 1001)
    routing.replace_route(HOMES[0], "mag1")
    routing.delete_route(HOMES[2])
    routing.block(HOMES[2])
    routing.remove_rule(RuleMatch(), RT_TABLE_LOCAL)
    routing.add_rule(200, RuleMatch(), RT_TABLE_LOCAL)
    assert asked == []
    assert not routing.is_left("mag1")
    assert routing.is_left("mag2")


def test_what_nobody_asks_for_goes_in_the_end(asked: list[tuple[object, ...]]) -> None:
    routing = adopting()
    routing.add_tunnel("mag1", OWN, MAG1)
    routing.replace_route(HOMES[0], "mag1")
    routing.end_adoption()
    assert sorted(map(str, asked)) == sorted(
        map(
            str,
            [
                *(("delete_rule", 100, MATCH[mark], 1000 + mark) for mark in (1, 2)),
                ("delete_rule", 200, RuleMatch(), RT_TABLE_LOCAL),
                *(("delete_route", HOMES[n], RT_TABLE_MAIN) for n in (1, 2, 3)),
                ("delete_route", DEFAULT, 1001),
                ("delete_route", DEFAULT, 1002),
                ("delete_link", "mag2"),
            ],
        )
    ), "others' routes, and those to where nobody attaches, are not this node's"
    asked.clear()
    routing.end_adoption()
    routing.add_tunnel("mag1", OWN, MAG1)
    assert asked == [("add_tunnel", "mag1", OWN, MAG1)], "from now on as any other"


def test_what_is_there_but_different_is_changed(asked: list[tuple[object, ...]]) -> None:
    routing = adopting()
    routing.add_tunnel("mag2", OWN, MAG3)
    assert asked == [("delete_link", "mag2"), ("add_tunnel", "mag2", OWN, MAG3)]
    asked.clear()
    routing.replace_route(HOMES[0], "mag2")
    routing.block(HOMES[1])
    routing.replace_route(HOMES[2], "mag1")
    routing.add_rule(100, MATCH[3], 1003)
    assert [one[0] for one in asked] == ["replace_route", "block", "replace_route", "add_rule"]
    asked.clear()
    routing.delete_route(HOMES[3])
    assert asked == [], "a route that drops is deleted for `block`, or in the end"
    routing.delete_route(DEFAULT, table=1001)
    assert asked == [("delete_route", DEFAULT, 1001)]
