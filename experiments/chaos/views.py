"""What the kernel's state of a look means: where it sends which packets."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import IPv6Network
from typing import Any, NamedTuple

from experiments.chaos.domain import FIRST_PORT
from experiments.emulation.roles import HOME_PREFIX_POOL

JSON = dict[str, Any]
MAIN = 254
LMA_RULE, UPLINK_RULE = 100, 100
DOWNLINK_TABLES = range(1100, 1200)
DROP = "drop"


class LmaView(NamedTuple):
    """`routes`: by home network prefix, the Proxy-CoA that the main table leads to, or None where
    it drops; `marks`: by mark, where packets with it go, of all rules that there are; `flows`: by
    number of the flow, the Proxy-CoAs that its packets go to, the first of a copy first, or DROP
    for those that are dropped; `unused`: what leads nowhere."""

    tunnels: list[str]
    routes: dict[str, str | None]
    marks: dict[int, str]
    flows: dict[int, list[str]]
    home_prefixes: set[str]
    unused: list[str]


def lma_view(kernel: JSON) -> LmaView:
    tunnels = tunnels_of(kernel)
    routes: dict[str, str | None] = {}
    defaults: dict[int, str] = {}
    for route in kernel["routes"]:
        remote = tunnels.get(route.get("dev", ""))
        if route["table"] == MAIN and IPv6Network(route["to"]).subnet_of(HOME_PREFIX_POOL):
            routes[route["to"]] = remote
        elif route["to"] == "::/0" and remote is not None:
            defaults[route["table"]] = remote
    rules = [rule for rule in kernel["rules"] if rule["priority"] == LMA_RULE]
    marks = {rule["mark"]: defaults.get(rule["table"], "nowhere") for rule in rules}
    unused = [f"two rules for mark {rule['mark']}" for rule in rules[len(marks) :]]
    table = _Table(kernel["nftables"] or [])
    flows: dict[int, list[str]] = {}
    for flow, keys in table.keys.items():
        if len(keys) != 1:
            unused.append(f"flow {flow} is classified as {sorted(keys)}")
        for key in keys & table.binding.keys():
            flows[flow] = [marks.get(table.binding[key], DROP)]
            flows[flow] += [tunnels.get(name, "nowhere") for name in table.copies.get(key, [])]
    known = {key for keys in table.keys.values() for key in keys}
    odd = table.binding.keys() - known
    unused += [f"key {key:#x} has a path, and no packet has it" for key in odd]
    unused += [f"key {key:#x} has no path" for key in known if key not in table.binding]
    return LmaView(list(tunnels.values()), routes, marks, flows, table.home_prefixes, unused)


class _Table:
    """`keys`: by flow, the keys that its packets get; `binding`: by key, the mark of its path;
    `copies`: by key, the interfaces of further copies."""

    def __init__(self, items: list[JSON]) -> None:
        self.keys: dict[int, set[int]] = defaultdict(set)
        self.binding: dict[int, int] = {}
        self.home_prefixes: set[str] = set()
        self.copies: dict[int, list[str]] = {}
        chains: dict[str, list[str]] = defaultdict(list)
        targets: dict[int, str] = {}
        for item in items:
            ((kind, what),) = item.items()
            if kind == "map":
                for key, value in what.get("elem", ()):
                    if what["name"] == "exact":
                        self.keys[key["concat"][-1] - FIRST_PORT].add(value)
                    elif what["name"] == "binding":
                        self.binding[key] = value
                    elif what["name"] == "copies":
                        targets[key] = value["jump"]["target"]
            elif kind == "set" and what["name"] == "home_prefixes":
                self.home_prefixes = set(_prefixes(what.get("elem", ())))
            elif kind == "rule" and what["chain"] == "ordered":
                self._ordered(what["expr"])
            elif kind == "rule" and what["chain"].startswith("copies_"):
                chains[what["chain"]] += [str(e["dup"]["dev"]) for e in what["expr"] if "dup" in e]
        self.copies = {key: chains[chain] for key, chain in targets.items()}

    def _ordered(self, expressions: list[JSON]) -> None:
        ports = [
            e["match"]["right"]
            for e in expressions
            if "match" in e and e["match"]["left"].get("payload", {}).get("field") == "dport"
        ]
        values = [e["mangle"]["value"] for e in expressions if "mangle" in e]
        for port in ports:
            self.keys[port - FIRST_PORT].update(values)


def _prefixes(elements: Any) -> list[str]:
    """Of a set of prefixes, or of their network addresses, as far as they are put together."""
    found = []
    for element in elements:
        if isinstance(element, dict) and "prefix" in element:
            prefix = IPv6Network((element["prefix"]["addr"], element["prefix"]["len"]))
            found += [str(net) for net in prefix.subnets(new_prefix=64)]
        elif isinstance(element, dict) and "range" in element:
            first, last = (IPv6Network((end, 64), strict=False) for end in element["range"])
            count = (int(last.network_address) - int(first.network_address)) >> 64
            base = int(first.network_address)
            found += [str(IPv6Network((base + (n << 64), 64))) for n in range(count + 1)]
        else:
            found.append(str(IPv6Network((element, 64))))
    return found


def tunnels_of(kernel: JSON) -> dict[str, str]:
    """By name, the address of the other end."""
    return {
        name: link["remote"]
        for name, link in kernel["links"].items()
        if link.get("kind") == "ip6tnl" and link["remote"] != "::"
    }


class MagView(NamedTuple):
    """`downlink`: by prefix, the access interface; `uplink`: interface and prefix of what may leave
    through the tunnel."""

    tunnels: list[str]
    downlink: dict[str, str]
    uplink: set[tuple[str, str]]


def mag_view(kernel: JSON) -> MagView:
    downlink = {
        route["to"]: route.get("dev", "nowhere")
        for route in kernel["routes"]
        if route["table"] in DOWNLINK_TABLES
    }
    uplink = {
        (rule["iif"], rule["from"])
        for rule in kernel["rules"]
        if rule["priority"] == UPLINK_RULE and "from" in rule
    }
    return MagView(list(tunnels_of(kernel).values()), downlink, uplink)
