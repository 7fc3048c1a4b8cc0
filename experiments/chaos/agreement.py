"""What holds when nothing has happened for long: LMA, MAGs, mobile nodes and kernels agree; and in
the end, that nothing is left. Pure functions over looks.
"""

from __future__ import annotations

from typing import Any

from experiments.chaos.checks import SERVING, Found, routed
from experiments.chaos.domain import LMA, mag_address
from experiments.chaos.scenario import Attach, Scenario, link_name, mag_name
from experiments.chaos.views import lma_view, mag_view
from experiments.emulation.roles import INTERFACE_ID, mn_id
from topologies.plan import LOGICAL_INTERFACE

JSON = dict[str, Any]
# Mobile node, Proxy-CoA and access.
Session = tuple[str, str, str]
Served = dict[Session, tuple[str, JSON | None]]


def check_agreement(look: JSON, scenario: Scenario, unattached: set[str]) -> Found:
    """`unattached`: links that are up and need not be attached."""
    nodes = look["nodes"]
    if not all(node["running"] for node in nodes.values()):
        yield (
            "agree-running",
            f"not running: {[name for name in nodes if not nodes[name]['running']]}",
        )
        return
    granted: dict[Session, JSON] = {
        (entry["mn"], entry["proxy_coa"], entry["access"]): entry
        for entry in nodes[LMA]["bindings"]
    }
    served = _served(nodes, scenario)
    waiting = set(look["up"]) - unattached
    yield from _check_mags(granted, served, waiting, contesting(scenario))
    for key, entry in granted.items():
        if entry["state"] != SERVING:
            yield "agree-state", f"LMA: {key} is {entry['state']}"
        link, other = served.get(key, ("none", None))
        if other is None or other["state"] != SERVING:
            yield "agree-bindings", f"the LMA has {key}; the MAG {other}"
            continue
        prefixes = set(entry["prefixes"]), set(entry["flow_mobility_prefixes"])
        if prefixes != (set(other["prefixes"]), set(other["off_link_prefixes"])):
            yield "agree-prefixes", f"{key}: LMA {routed(entry)}, MAG {other}"
        mn = key[0].partition("@")[0]
        yield from _check_addresses(nodes[mn], f"{mn}-{link}", entry)


def _check_mags(
    granted: dict[Session, JSON], served: Served, waiting: set[str], contested: set[str]
) -> Found:
    """`waiting`: links that a MAG has to serve. Of a mobile node that contests itself LMA and MAG
    may disagree for a while."""
    for key, (link, entry) in served.items():
        if entry is None:
            if link in waiting:
                yield "agree-attached", f"{link} is up, and its MAG doesn't serve it"
        elif entry["state"] not in (SERVING, "rejected"):
            yield "agree-state", f"MAG: {link} is {entry['state']}"
        elif entry["state"] == SERVING and key not in granted and key[0] not in contested:
            yield "agree-bindings", f"a MAG serves {key}, which the LMA doesn't know"


def _served(nodes: JSON, scenario: Scenario) -> Served:
    """For each interface that there is, its link and what its MAG has of it."""
    found: Served = {}
    for mobile in scenario.mobiles:
        for access, interface in mobile.interfaces.items():
            link, mag = link_name(access, mobile.number), mag_name(interface.mag)
            entries = [e for e in nodes[mag]["bindings"] if e["interface"] == f"{mag}-{link}"]
            key = (mn_id(mobile.number), str(mag_address(interface.mag)), access)
            found[key] = (link, entries[0] if entries else None)
    return found


def _check_addresses(mn: JSON, interface: str, entry: JSON) -> Found:
    own = {address for name, address in mn["kernel"]["addresses"] if name == LOGICAL_INTERFACE}
    for prefix in entry["prefixes"]:
        address = prefix.replace("::/", f"::{INTERFACE_ID:x}/")
        if address not in own:
            yield "mn-address", f"{interface}: {address} is missing"
    ways = [route for route in mn["kernel"]["routes"] if route["to"] == "::/0"]
    if not any(route.get("dev") == interface for route in ways):
        yield "mn-route", f"{interface}: no default route"


def check_nobody(look: JSON) -> Found:
    """Nothing is left when all have gone."""
    for name, node in look["nodes"].items():
        if not node["running"]:
            yield "agree-running", f"{name} doesn't run"
        elif name == LMA:
            view = lma_view(node["kernel"])
            left = (node["bindings"], node["flows"], view.tunnels, view.routes, view.flows)
            if any(left) or view.marks or view.home_prefixes or view.unused:
                yield "left", f"{name}: {node['bindings']} {node['flows']} {view}"
        elif "bindings" in node:
            found = mag_view(node["kernel"])
            if node["bindings"] or any(found):
                yield "left", f"{name}: {node['bindings']} {found}"


def contesting(scenario: Scenario) -> set[str]:
    """The mobile nodes that may claim the session of an interface for another that is attached at
    the same time (docs/invariants.md)."""
    return {
        mn_id(fault.mn)
        for fault in scenario.faults
        if isinstance(fault, Attach) and fault.session is not None
    }
