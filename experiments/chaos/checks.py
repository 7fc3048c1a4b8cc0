"""What has to hold in every look at the nodes (docs/invariants.md): pure functions over what a run
has recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from typing import Any, NamedTuple

from experiments.chaos.domain import LMA
from experiments.chaos.views import DROP, lma_view, mag_view

JSON = dict[str, Any]
# Linux tells of carriers once a second at most (linkwatch).
NOTICED_S = 1.1
SERVING = "registered"
NOBODY: frozenset[str] = frozenset()


class Violation(NamedTuple):
    """`rule` names what was broken, `text` says how."""

    t: float
    rule: str
    text: str


Found = Iterator[tuple[str, str]]


def in_order(entries: Iterable[JSON]) -> list[JSON]:
    """By BID-PRI."""
    return sorted(entries, key=lambda entry: (entry["priority"], entry["bid"]))


def routed(entry: JSON) -> list[str]:
    found: list[str] = entry["prefixes"] + entry["flow_mobility_prefixes"]
    return found


def check_lma(lma: JSON) -> Found:
    """The LMA's kernel does what its binding cache and flow mobility cache say."""
    bindings, view = in_order(lma["bindings"]), lma_view(lma["kernel"])
    yield from _check_prefixes(bindings, view.routes)
    if view.home_prefixes != view.routes.keys():
        odd = sorted(view.home_prefixes ^ view.routes.keys())
        yield "lma-home-prefixes", f"either classified or routed, not both: {odd}"
    yield from _check_tunnels(bindings, view.tunnels)
    if sorted(view.marks.values()) != sorted(view.tunnels):
        yield "lma-marks", f"marks lead to {view.marks}, tunnels to {sorted(view.tunnels)}"
    for text in view.unused:
        yield "lma-classes", text
    yield from _check_flows(lma, view.flows)


def _check_prefixes(bindings: list[JSON], routes: dict[str, str | None]) -> Found:
    owners: dict[str, str] = {}
    holders: dict[str, list[JSON]] = {}
    lent: dict[str, list[JSON]] = {}
    for entry in bindings:
        for prefix in entry["prefixes"]:
            holders.setdefault(prefix, []).append(entry)
        for prefix in entry["flow_mobility_prefixes"]:
            lent.setdefault(prefix, []).append(entry)
        for prefix in routed(entry):
            if owners.setdefault(prefix, entry["mn"]) != entry["mn"]:
                yield "one-owner", f"{prefix} is of {owners[prefix]} and of {entry['mn']}"
    for prefix, entries in {**lent, **holders}.items():
        wanted = next((e["proxy_coa"] for e in entries if e["state"] == SERVING), None)
        if prefix not in routes:
            yield "lma-routes", f"no route to {prefix}"
        elif routes[prefix] != wanted:
            yield "lma-routes", f"{prefix} leads to {routes[prefix]}, and not to {wanted}"
    for prefix, remote in routes.items():
        if prefix not in owners and remote is not None:
            yield "lma-routes", f"{prefix} is nobody's and leads to {remote}"


def _check_tunnels(bindings: list[JSON], tunnels: list[str]) -> Found:
    known = {entry["proxy_coa"] for entry in bindings}
    needed = {entry["proxy_coa"] for entry in bindings if entry["state"] == SERVING}
    if len(set(tunnels)) != len(tunnels) or not needed <= set(tunnels) <= known:
        yield "lma-tunnels", f"to {sorted(tunnels)}; bindings are of {sorted(known)}"


def _check_flows(lma: JSON, flows: dict[int, list[str]]) -> Found:
    serving = {e["bid"]: e for e in lma["bindings"] if e["state"] == SERVING}
    rows = {row["fid"]: row for row in lma["flows"]}
    for row in rows.values():
        live = [serving[bid] for bid in row["bids"] if bid in serving]
        if row["active"] != bool(live):
            yield "flow-active", f"flow {row['fid']} is {row['active']}; live are {live}"
        if any(entry["mn"] != row["mn"] for entry in live):
            yield "flow-owner", f"flow {row['fid']} of {row['mn']} is bound to {live}"
    for fid, path in flows.items():
        if fid not in rows:
            yield "flow-row", f"flow {fid} has no row, and goes to {path}"
            continue
        row = rows[fid]
        live = [serving[bid] for bid in row["bids"] if bid in serving]
        wanted = [entry["proxy_coa"] for entry in live] if row["action"] == "forward" else [DROP]
        if sorted(path) != sorted(set(wanted)):
            yield "flow-path", f"flow {fid} goes to {path}, and not to {wanted}"


def check_mag(name: str, mag: JSON, gone: set[str], *, adopting: bool = False) -> Found:
    """The MAG's kernel routes what its binding update list says. `gone`: access links that have had
    no carrier for long enough to be noticed. `adopting`: what an earlier start has left may be
    there."""
    view = mag_view(mag["kernel"])
    hosted: set[tuple[str, str]] = set()
    for entry in mag["bindings"]:
        interface, state = entry["interface"], entry["state"]
        served = set(entry["prefixes"] + entry["off_link_prefixes"])
        hosted |= {(interface, prefix) for prefix in entry["hosted"]}
        if state in ("rejected", "deregistering") and entry["hosted"]:
            yield "mag-service", f"{name}: {interface} is {state}, and served"
        if state == SERVING and set(entry["hosted"]) != served:
            yield "mag-hosted", f"{name}: {interface} has {served}, hosted {entry['hosted']}"
        if state != "deregistering" and interface.removeprefix(f"{name}-") in gone:
            yield "mag-carrier", f"{name}: {interface} is {state} without a carrier"
    odd = hosted - view.uplink if adopting else hosted ^ view.uplink
    if odd:
        yield "mag-uplink", f"{name}: rules for {sorted(odd)} of one of both only"
    if adopting:
        return
    down = {(interface, prefix) for prefix, interface in view.downlink.items()}
    if not down <= hosted or view.downlink.keys() != {prefix for _, prefix in hosted}:
        yield "mag-downlink", f"{name}: routes {view.downlink}, hosts {sorted(hosted)}"
    if len(view.tunnels) > 1 or (hosted and not view.tunnels):
        yield "mag-tunnel", f"{name}: tunnels to {view.tunnels}"


def check_look(look: JSON, gone: set[str], adopting: Set[str] = NOBODY) -> Found:
    """What holds at any time, of each node that runs. `adopting`: the MAGs that have just been
    started again."""
    yield from _check_owners(look)
    for name, node in look["nodes"].items():
        if not node["running"]:
            continue
        if name == LMA:
            yield from check_lma(node)
        elif "bindings" in node:
            yield from check_mag(name, node, gone, adopting=name in adopting)


def _check_owners(look: JSON) -> Found:
    """The LMA gives nobody what a MAG serves another with."""
    owners = {
        prefix: entry["mn"]
        for entry in look["nodes"][LMA].get("bindings", ())
        for prefix in routed(entry)
    }
    for name, node in look["nodes"].items():
        for entry in node.get("bindings", ()) if name != LMA else ():
            for prefix in entry["hosted"]:
                if owners.get(prefix, entry["mn"]) != entry["mn"]:
                    text = f"{prefix}: {name} serves {entry['mn']}, the LMA {owners[prefix]}"
                    yield "stolen-prefix", text
