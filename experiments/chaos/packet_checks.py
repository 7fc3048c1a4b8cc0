"""What has to hold of packets: pure functions over those that a run has sent and seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from experiments.chaos.agreement import contesting
from experiments.chaos.checks import SERVING, Violation, in_order, routed
from experiments.chaos.domain import CN, CORE, LMA, mag_address
from experiments.chaos.probes import DEFAULT_FLOW, DOWN, DOWN_ANSWER, SPOOFED, UP, UP_ANSWER, Probe
from experiments.chaos.record import Arrived, Sent
from experiments.chaos.scenario import Scenario, link_name, mn_name
from experiments.emulation.roles import DOMAIN, mn_id

JSON = dict[str, Any]
# From the packets on with which an agreement is looked at.
SETTLED_S = 0.9
TO_NODE, TO_CORRESPONDENT = (DOWN, UP_ANSWER), (UP, DOWN_ANSWER)


class Copies:
    """Of how many accesses a flow's packets may come over, from when on."""

    def __init__(self, scenario: Scenario, record: Iterable[JSON]) -> None:
        self._since: dict[int, list[tuple[float, int]]] = defaultdict(list)
        own: dict[str, list[int]] = defaultdict(list)
        for flow in scenario.flows:
            own[mn_id(flow.mn)].append(flow.number)
        for line in record:
            request = line.get("request", {})
            if line["what"] == "order" and request["op"] in ("add-flow", "move-flow"):
                concerned = own[request["mn"]] if request["fid"] == "all" else [request["fid"]]
                for number in concerned:
                    self._since[number].append((line["t"], len(request["to"])))

    def most(self, flow: int, t: float) -> int:
        """Orders may fail, so all before count."""
        return max((count for since, count in self._since[flow] if since <= t), default=1)


def check_packets(
    scenario: Scenario, record: list[JSON], packets: Iterable[Sent | Arrived]
) -> Iterator[Violation]:
    """What holds at any time."""
    copies, owners = Copies(scenario, record), prefix_owners(record)
    counts: Counter[Probe] = Counter()
    for packet in packets:
        if isinstance(packet, Sent):
            continue
        probe = packet.probe
        if packet.node == CORE:
            yield Violation(packet.t, "untunnelled", f"{packet} crossed the core as it is")
            continue
        if probe is None:
            yield Violation(packet.t, "stranger", f"{packet} is nobody's")
            continue
        if probe.kind == SPOOFED:
            yield Violation(packet.t, "spoofed", f"{packet} has another's source")
            continue
        counts[probe] += 1
        most = copies.most(probe.flow, packet.t) if probe.kind in TO_NODE else 1
        if counts[probe] > most:
            yield Violation(packet.t, "twice", f"{packet} came {counts[probe]} times")
        right = mn_name(probe.mn) if probe.kind in TO_NODE else CN
        # A prefix may be another's by now, which the sender doesn't know.
        if packet.node != right and not _owner(owners, packet):
            yield Violation(packet.t, "wrong-node", f"{packet} was for {right}")
        ours = packet.destination if probe.kind in TO_NODE else packet.source
        if mn_id(probe.mn) not in owners.get(_prefix(ours), set()):
            yield Violation(packet.t, "address", f"{packet}: {ours} is not of mn{probe.mn}")


def _owner(owners: dict[str, set[str]], packet: Arrived) -> bool:
    """Whether the node that a packet came to ever had its destination."""
    return f"{packet.node}@{DOMAIN}" in owners.get(_prefix(packet.destination), set())


def prefix_owners(record: Iterable[JSON]) -> dict[str, set[str]]:
    """By prefix, those who ever had it."""
    owners: dict[str, set[str]] = defaultdict(set)
    for line in record:
        if line["what"] == "look":
            for entry in line["nodes"][LMA].get("bindings", ()):
                for prefix in routed(entry):
                    owners[prefix].add(entry["mn"])
    return owners


def _prefix(address: str) -> str:
    return str(IPv6Network((address, 64), strict=False))


def check_delivery(
    scenario: Scenario,
    look: JSON,
    until_s: float,
    packets: list[Sent | Arrived],
    forgetful: set[str],
) -> Iterator[Violation]:
    """What holds from a look on at which all agree: each packet goes where the LMA says, and comes
    back. `forgetful` are the MAGs that were started again."""
    # Where a node has two interfaces, the MAG takes the one that got the prefix last.
    mags = {
        f"{mn_name(mobile.number)}-{link_name(access, mobile.number)}": str(
            mag_address(interface.mag)
        )
        for mobile in scenario.mobiles
        for access, interface in mobile.interfaces.items()
    }
    arrived: dict[Probe, list[Arrived]] = defaultdict(list)
    for packet in packets:
        if isinstance(packet, Arrived) and packet.probe is not None:
            arrived[packet.probe].append(packet)
    for packet in packets:
        if not isinstance(packet, Sent) or not look["t"] <= packet.t < until_s:
            continue
        probe = packet.probe
        if mn_id(probe.mn) in contesting(scenario):
            continue
        if packet.error is not None:
            yield Violation(packet.t, "not-sent", f"{packet}")
        elif probe.kind in TO_NODE:
            wanted = way_down(look["nodes"][LMA], probe, packet.destination)
            seen = sorted(mags.get(a.interface, a.interface) for a in arrived[probe])
            if seen != sorted(set(wanted)):
                text = f"{packet} came over {seen}, and not over {wanted}"
                yield Violation(packet.t, "delivery", text)
        elif not arrived[probe] and _way_up_known(look, packet, forgetful):
            yield Violation(packet.t, "uplink", f"{packet} didn't arrive")


def _way_up_known(look: JSON, packet: Sent, forgetful: set[str]) -> bool:
    """Whether a packet that a mobile node sends is sure to arrive. A flow goes where it came from,
    which is settled by the packets that the look begins with. The exception of docs/invariants.md:
    what a MAG has forgotten that it told the node nobody takes back."""
    if packet.probe.kind == UP and packet.t < look["t"] + SETTLED_S:
        return False
    rows = [row for row in look["nodes"][LMA]["flows"] if row["fid"] == packet.probe.flow]
    if any(row["action"] == "drop" for row in rows):
        return False
    node, prefix = look["nodes"][mn_name(packet.probe.mn)], _prefix(packet.source)
    for rule in node["kernel"]["rules"]:
        if rule.get("from") != prefix:
            continue
        for route in node["kernel"]["routes"]:
            if route["table"] == rule["table"] and route["to"] == "::/0":
                return not any(
                    f"{mag}-{route['dev'].partition('-')[2]}" in _interfaces(look, mag)
                    and prefix not in _advertised(look, mag, route["dev"])
                    for mag in forgetful
                )
    return True


def _interfaces(look: JSON, mag: str) -> set[str]:
    return set(look["nodes"][mag]["kernel"]["links"])


def _advertised(look: JSON, mag: str, mn_interface: str) -> set[str]:
    link = mn_interface.partition("-")[2]
    return {
        prefix
        for entry in look["nodes"][mag]["bindings"]
        if entry["interface"] == f"{mag}-{link}"
        for prefix in entry["prefixes"]
    }


def way_down(lma: JSON, probe: Probe, destination: str) -> list[str]:
    """The Proxy-CoAs that a packet to a mobile node goes to."""
    prefix = _prefix(destination)
    serving = in_order(e for e in lma["bindings"] if e["state"] == SERVING)
    own = [entry for entry in serving if entry["mn"] == mn_id(probe.mn)]
    for row in lma["flows"]:
        if row["fid"] != probe.flow or probe.flow == DEFAULT_FLOW:
            continue
        wanted = row["selector"].get("start_destination_address", destination)
        live = [entry for entry in own if entry["bid"] in row["bids"]]
        if live and IPv6Address(wanted) == IPv6Address(destination):
            if row["action"] == "drop":
                return []
            if all(prefix in routed(entry) for entry in live):
                return [entry["proxy_coa"] for entry in live]
    holders = [entry for entry in own if prefix in entry["prefixes"]]
    lent = [entry for entry in own if prefix in entry["flow_mobility_prefixes"]]
    return [entry["proxy_coa"] for entry in (holders or lent)[:1]]
