"""What a course on the network of topologies/sdn.toml has left behind: packets of its links, and
what LMA and switches have at an instant."""

from __future__ import annotations

import zlib
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, NamedTuple

from experiments.declaration.spec import Protocol
from experiments.engines.kernel_cache import Kernel
from tests.system import tables, wire
from tests.system.guests import carry_out_check, make_job, put_job

A, STAY = 1, 2
LMA, MAG1, MAG2 = (IPv6Address(f"2001:db8:10::{n}") for n in ("1", "11", "12"))
MODES = ("sdn-core", "sdn-assisted")
MAGS = {"wlan": "mag1", "cell": "mag2"}
# Where the LMA sends packets into the core, and the links of the core.
INGRESS, CORE = "lma-s1", ("s1-s2", "s2-s3", "s2-s4")
# The key of the LMA's first flow, and each further one's is the next.
FIRST_KEY = 0x10000


class Course(NamedTuple):
    folder: Path
    result: dict[str, Any]
    protocol: Protocol

    @property
    def mode(self) -> str:
        return self.protocol.data_plane

    def at(self, interface: str, *, outbound: bool) -> list[wire.Datagram]:
        capture = wire.read(self.folder / "wire" / f"{interface}.pcapng")
        return wire.at(capture, interface, outbound=outbound)

    def at_s(self, datagram: wire.Datagram) -> float:
        """Second of the run."""
        return float(datagram.time_ns - self.result["start_ns"]) / 1e9

    def sent(self, flow: int) -> set[int]:
        return set(wire.marks(self.at("cn-lma", outbound=True), flow))

    def received(self, flow: int) -> dict[str, set[int]]:
        """By access: what the MN got of a flow; every packet once."""
        found = {}
        for access in MAGS:
            counts = wire.marks(self.at(f"mn-{access}", outbound=False), flow)
            assert all(count == 1 for count in counts.values())
            found[access] = set(counts)
        assert not found["wlan"] & found["cell"]
        return found

    def lost(self, flow: int) -> set[int]:
        got = self.received(flow)
        return self.sent(flow) - got["wlan"] - got["cell"]

    def uplink_lost(self, flow: int) -> set[int]:
        left: set[int] = set()
        for access in MAGS:
            left |= set(wire.marks(self.at(f"mn-{access}", outbound=True), flow))
        assert left
        return left - set(wire.marks(self.at("cn-lma", outbound=False), flow))

    def assert_nothing_lost(self) -> None:
        """Neither flow has lost a packet, in either direction."""
        for flow in (A, STAY):
            assert not self.lost(flow)
            assert not self.uplink_lost(flow)

    def over(self, access: str, flow: int, from_s: float, until_s: float) -> list[wire.Datagram]:
        """The packets of a flow that arrive over an access in this time."""
        return [
            datagram
            for datagram in self.at(f"mn-{access}", outbound=False)
            if (datagram.mark or (0, 0))[0] == flow and from_s <= self.at_s(datagram) < until_s
        ]

    def in_tunnels(self, interface: str, flow: int, *, outbound: bool) -> list[wire.Datagram]:
        """The tunnel packets of a flow."""
        packets = [d for d in self.at(interface, outbound=outbound) if d.inner is not None]
        return [d for d in packets if (d.innermost.mark or (0, 0))[0] == flow]

    def assert_each_packet_takes_one_way(self) -> None:
        """No link of the core has a packet twice in a direction, as in a loop, and none goes
        towards both MAGs."""
        for flow in (A, STAY):
            for outbound in (True, False):
                seen = [wire.marks(self.at(link, outbound=outbound), flow) for link in CORE]
                assert all(count == 1 for counts in seen for count in counts.values())
                assert seen[0], "what isn't captured isn't judged"
                assert not seen[1].keys() & seen[2].keys()

    def assert_agreed(self, state: dict[str, Any], keys: dict[int, int] | None = None) -> None:
        """LMA and switches have the same in mind: nothing is left to do or left over, and a packet
        of each flow, as the LMA sent it last before, gets to the MAG of its binding alone. `keys`
        of the flows: those of the first two."""
        keys = {A: FIRST_KEY, STAY: FIRST_KEY + 1} if keys is None else keys
        controller = state["controller"]
        assert controller["state"] == "synchronized"
        assert controller["switches"] == {"ready": ["s1", "s2", "s3", "s4"], "lost": []}
        assert (controller["waiting"], controller["in_tunnels"], controller["refused"]) == (
            0,
            0,
            [],
        )
        rules = tables.read(state["tables"])
        of_flows = tables.ways(rules, tables.FLOW)
        ordered = {
            flow["fid"]: [MAGS[access] for access in flow["access"]] for flow in state["flows"]
        }
        for fid, (mag,) in ordered.items():
            last = self._last_before(fid, state["at_ns"])
            assert tables.delivered(rules, _packet(last)) == [mag]
            way = of_flows.pop(keys[fid], {})
            if self.mode == "sdn-core":
                assert way == path_to(mag)
            else:
                anchor = {MAG1: "mag1", MAG2: "mag2"}[last.destination]
                assert way == ({} if anchor == mag else {"s2": path_to(mag)["s2"]})
        assert not of_flows, "rules of flows that aren't there"
        assert tables.ways(rules, tables.PREFIX) == self._prefix_ways(state["bindings"])

    def _last_before(self, flow: int, at_ns: int) -> wire.Datagram:
        sent = [
            datagram
            for datagram in self.at(INGRESS, outbound=True)
            if (datagram.innermost.mark or (0, 0))[0] == flow and datagram.time_ns < at_ns
        ]
        return sent[-1]

    def _prefix_ways(self, bindings: list[dict[str, Any]]) -> dict[int, dict[str, set[str]]]:
        if self.mode != "sdn-core":
            return {}
        found: dict[int, dict[str, set[str]]] = {}
        for binding in sorted(bindings, key=lambda binding: int(binding["priority"])):
            for prefix in binding["prefixes"]:
                number = zlib.crc32(_octets(IPv6Network(prefix)))
                found.setdefault(number, path_to(MAGS[binding["access"]]))
        return found


def _octets(prefix: IPv6Network) -> bytes:
    return prefix.network_address.packed + bytes([prefix.prefixlen])


def path_to(mag: str) -> dict[str, set[str]]:
    """What each switch of the path from the LMA has to do."""
    last = {"mag1": "s3", "mag2": "s4"}[mag]
    return {"s1": {"s2"}, "s2": {last}, last: {mag}}


def _packet(datagram: wire.Datagram) -> tables.Packet:
    ports = None
    if datagram.next_header == wire.UDP:
        ports = (
            int.from_bytes(datagram.payload[:2], "big"),
            int.from_bytes(datagram.payload[2:4], "big"),
        )
    return tables.Packet(
        datagram.source, datagram.destination, datagram.next_header, datagram.flow_label, ports
    )


def course(
    kernel: Kernel,
    folder: Path,
    check: str,
    document: dict[str, Any] | None = None,
    **protocol: Any,
) -> Course:
    """Carry out a course; `protocol` and `document` change the short run's description."""
    job = make_job({"protocol": protocol}, document or {}, network="sdn")
    result = carry_out_check(kernel, put_job(folder, job), check)
    return Course(folder, result, job.spec.protocol)
