"""A look at a domain in which all is well, made by hand: mn1 with a session at each of two MAGs;
flow 1, of the first session, that has moved to the second; flow 2 is known by its port, and goes to
both. For tests to spoil.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from experiments.chaos.domain import mag_address
from experiments.chaos.scenario import Interface, Mobile, Scenario, Traffic

JSON = dict[str, Any]
MN, CN_ADDRESS = "mn1@flowmob.example", "2001:db8:1::2"
P1, P2 = "2001:db8:100::/64", "2001:db8:100:1::/64"
A1, A2 = "2001:db8:100::1", "2001:db8:100:1::1"
COA1, COA2 = str(mag_address(1)), str(mag_address(2))
LMA = "2001:db8:10::1"

SCENARIO = Scenario(
    seed=1,
    mags=2,
    mobiles=(Mobile(number=1, interfaces={"wlan": Interface(1), "cell": Interface(2)}),),
    flows=(
        Traffic(number=1, mn=1, anchor="wlan", interval_s=1.0),
        Traffic(number=2, mn=1, anchor="wlan", interval_s=1.0, exact=False),
    ),
    agreed_s=(100.0,),
)


def _binding(bid: int, access: str, coa: str, own: list[str], lent: list[str]) -> JSON:
    return {
        "mn": MN,
        "bid": bid,
        "priority": 10 * bid,
        "access": access,
        "prefixes": own,
        "flow_mobility_prefixes": lent,
        "proxy_coa": coa,
        "state": "registered",
    }


def _row(fid: int, bids: list[int], selector: JSON) -> JSON:
    return {
        "mn": MN,
        "fid": fid,
        "priority": 10 * fid,
        "selector": selector,
        "bids": bids,
        "action": "forward",
        "active": True,
    }


def _tunnel(index: int, remote: str) -> JSON:
    return {"index": index, "up": True, "kind": "ip6tnl", "local": LMA, "remote": remote}


def _route(to: str, dev: str, table: int = 254, **more: str) -> JSON:
    return {"table": table, "to": to, "kind": "unicast", "dev": dev, **more}


def _nftables() -> list[JSON]:
    exact = {"concat": [CN_ADDRESS, A1, "udp", 20_001, 20_001]}
    port = {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 20_002}
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 0x102}}
    prefixes = [{"prefix": {"addr": "2001:db8:100::", "len": 63}}]
    return [
        {"metainfo": {"version": "1.0.6"}},
        {"map": {"name": "exact", "elem": [[exact, 0x101]]}},
        {"map": {"name": "binding", "elem": [[0x101, 2], [0x102, 1]]}},
        {"map": {"name": "copies", "elem": [[0x102, {"jump": {"target": "copies_102"}}]]}},
        {"map": {"name": "holds"}},
        {"set": {"name": "home_prefixes", "elem": prefixes}},
        {"rule": {"chain": "ordered", "expr": [{"match": port}, mark, {"return": None}]}},
        {"rule": {"chain": "copies_102", "expr": [{"dup": {"addr": "fe80::1", "dev": "mag2"}}]}},
    ]


def _lma() -> JSON:
    five = {
        "start_source_address": CN_ADDRESS,
        "start_destination_address": A1,
        "start_next_header": 17,
        "start_source_port": 20_001,
        "start_destination_port": 20_001,
    }
    port = {"start_next_header": 17, "start_destination_port": 20_002}
    return {
        "running": True,
        "bindings": [_binding(1, "wlan", COA1, [P1], []), _binding(2, "cell", COA2, [P2], [P1])],
        "flows": [_row(1, [2], five), _row(2, [1, 2], port)],
        "kernel": {
            "links": {
                "lma-core": {"index": 5, "up": True, "kind": "veth"},
                "ip6tnl0": _tunnel(3, "::"),
                "mag1": _tunnel(7, COA1),
                "mag2": _tunnel(8, COA2),
            },
            "addresses": [],
            "routes": [
                _route(P1, "mag1"),
                _route(P2, "mag2"),
                _route("::/0", "mag1", 1001),
                _route("::/0", "mag2", 1002),
                _route("2001:db8:20:1::/64", "lma-core", via="2001:db8:10::2"),
            ],
            "rules": [
                {"priority": 0, "action": 1, "table": 255},
                {"priority": 100, "action": 1, "table": 1001, "mark": 1},
                {"priority": 100, "action": 1, "table": 1002, "mark": 2},
            ],
            "nftables": _nftables(),
        },
    }


def _mag(number: int, access: str, own: list[str], lent: list[str]) -> JSON:
    interface = f"mag{number}-{access}1"
    entry = {
        "interface": interface,
        "mn": MN,
        "state": "registered",
        "prefixes": own,
        "off_link_prefixes": lent,
        "hosted": own + lent,
    }
    return {
        "running": True,
        "bindings": [entry],
        "kernel": {
            "links": {interface: {"index": 5, "up": True}, "lma0": _tunnel(9, LMA)},
            "addresses": [],
            "routes": [_route(prefix, interface, 1100, via="fe80::2") for prefix in own + lent],
            "rules": [
                {"priority": 100, "action": 1, "table": 1000, "from": prefix, "iif": interface}
                for prefix in own + lent
            ],
        },
    }


def _mn() -> JSON:
    return {
        "running": True,
        "status": [],
        "kernel": {
            "links": {},
            "addresses": [["lif0", f"{A1}/64"], ["lif0", f"{A2}/64"]],
            "routes": [_route("::/0", "mn1-wlan1", 1001), _route("::/0", "mn1-cell1", 1002)],
            "rules": [
                {"priority": 110, "action": 1, "table": 1001, "from": P1},
                {"priority": 110, "action": 1, "table": 1002, "from": P2},
            ],
        },
    }


def good_look(t: float = 100.0) -> JSON:
    return {
        "t": t,
        "what": "look",
        "why": "agreed",
        "up": ["wlan1", "cell1"],
        "nodes": {
            "lma": _lma(),
            "mag1": _mag(1, "wlan", [P1], []),
            "mag2": _mag(2, "cell", [P2], [P1]),
            "mn1": _mn(),
        },
    }


def empty_look() -> JSON:
    """The same nodes when all have gone."""
    look = deepcopy(good_look(400.0))
    look["why"], look["up"] = "nobody", []
    lma, mags = look["nodes"]["lma"], [look["nodes"][mag] for mag in ("mag1", "mag2")]
    lma["bindings"], lma["flows"] = [], []
    for node in (lma, *mags):
        kernel = node["kernel"]
        kernel["links"] = {n: v for n, v in kernel["links"].items() if v.get("kind") != "ip6tnl"}
        kernel["routes"], kernel["rules"] = [], []
        node["bindings"] = []
    lma["kernel"]["nftables"] = [
        {"map": {"name": name}} for name in ("exact", "binding", "copies", "holds")
    ]
    return look
