"""Flows of several kinds, and packets that are theirs or not: courses for captures to judge."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from experiments.emulation.roles import MN_ID
from nodes.wire.traffic_selector import PacketFields
from tests.system.guest_checks import flow_cases
from tests.system.guest_checks.forwarding_checks import (
    IPPROTO_IPV6_IN_IPV6,
    _datagram,
    _ethernet,
    _frames_to_mag,
)
from tests.system.guest_checks.scenario import Scenario, scenario
from topologies.namespaces import socket_in

IPV6_MTU = 24
SMALL_MTU = 1280
UDP, ICMPV6, MOBILITY_HEADER = 17, 58, 135
ECHO_REQUEST_AS_PORT = 0x8000  # type 128 and code 0, where UDP has the source port


class Talk:
    """UDP between CN and MN on one port; the MN's address is that of flow `flow`."""

    def __init__(self, course: Scenario, port: int, flow: str = "a") -> None:
        cn = course.job.spec.topology.nodes["cn"].address
        assert cn is not None
        self.port = port
        self.addresses = {"cn": cn, "mn": course.addresses[flow]}
        self.ends = {name: _udp(course, name, at, port) for name, at in self.addresses.items()}

    def send(self, source: str, payload: bytes) -> None:
        to = self.addresses["mn" if source == "cn" else "cn"]
        self.ends[source].sendto(payload, (str(to), self.port))

    def received(self, node: str) -> list[str]:
        """What came and wasn't read yet, each with its length if it is long."""
        found = []
        while True:
            try:
                data = self.ends[node].recv(65_535)
            except BlockingIOError:
                return found
            found.append(data.decode() if len(data) < 100 else f"{len(data)} octets")

    def close(self) -> None:
        for end in self.ends.values():
            end.close()


def _udp(course: Scenario, node: str, address: IPv6Address, port: int) -> socket.socket:
    channel = socket_in(
        course.network.namespace(node), lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    )
    channel.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU, SMALL_MTU)
    channel.bind((str(address), port))
    channel.setblocking(False)
    return channel


def _add(course: Scenario, fid: int, to: Any, action: str = "forward", **selector: Any) -> Any:
    request = {"op": "add-flow", "mn": MN_ID, "fid": fid, "priority": 1000 + fid, "to": to}
    request |= {"selector": selector, "action": action}
    return course.session.request(request)


def _move(course: Scenario, **request: Any) -> Any:
    return course.session.request({"op": "move-flow", "mn": MN_ID, **request})


def copies(folder: Path) -> dict[str, Any]:
    """Flow 10 goes to the WLAN, then to both accesses, then to the cell, then to both of which the
    cell goes down; 5 packets each."""
    with scenario(folder) as course:
        course.attach()
        talk = Talk(course, 7000)
        _add(course, 10, "wlan", start_destination_port=7000, start_next_header=UDP)
        answers, received = [], {}
        steps = (("one", None), ("both", ["wlan", "cell"]), ("other", "cell"))
        for number, (name, to) in enumerate(steps):
            course.until(4.0 + number)
            if to is not None:
                answers.append(_move(course, fid=10, to=to))
            for sequence in range(5):
                course.until(4.5 + number + sequence / 20)
                talk.send("cn", f"case {10 * number + sequence}".encode())
            course.until(4.9 + number)
            received[name] = talk.received("mn")
        flows = course.ask("flows")
        answers.append(_move(course, fid=10, to=["cell", "wlan"]))
        course.until(8.0)
        course.network.set_access("cell", False)
        for sequence in range(5):
            course.until(8.5 + sequence / 20)
            talk.send("cn", f"case {30 + sequence}".encode())
        course.until(9.0)
        received["one left"] = talk.received("mn")
        (left,) = [flow for flow in course.ask("flows") if flow["fid"] == 10]
        assert left["active"]
        talk.close()
        return {"answers": answers, "received": received, "flows": flows}


def classified(folder: Path) -> dict[str, Any]:
    """Packets of every kind, of flows of every kind, which are added in no order."""
    with scenario(folder) as course:
        course.attach()
        cn, mn = course.job.spec.topology.nodes["cn"].address, course.addresses["a"]
        assert cn is not None
        answers = []
        for row in sorted(flow_cases.rows(cn, mn), key=lambda row: row.priority % 7):
            request = {"op": "add-flow", "mn": MN_ID, "fid": row.fid, "to": row.to}
            request |= {
                "priority": 1000 + row.priority,
                "selector": row.selector,
                "action": row.action,
            }
            answers.append(course.session.request(request))
        channel = socket_in(
            course.network.namespace("cn"),
            lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        )
        for number, packet in enumerate(flow_cases.packets(cn, mn)):
            course.until(4.0 + number / 50)
            data = flow_cases.octets(packet, f"case {number}".encode())
            channel.sendto(data, (str(packet.destination), 0))
        course.until(5.0 + number / 50)
        channel.close()
        return {"answers": answers, "cn": str(cn), "mn": str(mn)}


def dropped(folder: Path) -> dict[str, Any]:
    """Flows that are dropped, packets that look like theirs, and mobility signalling."""
    with scenario(folder) as course:
        course.attach()
        talks = {port: Talk(course, port) for port in (7001, 7002)}
        destination = str(talks[7001].addresses["mn"])
        _add(course, 10, "wlan", "drop", start_destination_port=7001)
        _add(course, 11, "wlan", "drop", start_source_port=ECHO_REQUEST_AS_PORT)
        course.until(4.0)
        for number, talk in enumerate(talks.values()):
            course.until(4.0 + number / 10)
            talk.send("cn", f"case {number}".encode())
        course.until(4.5)
        _raw(course, ICMPV6, b"\x80\x00\x00\x00" + b"case 2", destination)
        # Everything to the MN, and still not this.
        course.until(5.0)
        _add(course, 12, "wlan", "drop", start_destination_address=destination)
        talks[7002].send("cn", b"case 3")
        _raw(
            course, MOBILITY_HEADER, bytes.fromhex("3b010000000000000000") + b"case 4", destination
        )
        course.until(6.0)
        received = {port: talk.received("mn") for port, talk in talks.items()}
        for talk in talks.values():
            talk.close()
        return {"received": received}


def _raw(course: Scenario, protocol: int, data: bytes, destination: str) -> None:
    channel = socket_in(
        course.network.namespace("cn"),
        lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol),
    )
    channel.sendto(data, (destination, 0))
    channel.close()


def fragments(folder: Path) -> dict[str, Any]:
    """Packets of several fragments of a flow that is on the cell, both ways, and of one that
    isn't."""
    with scenario(folder) as course:
        course.attach()
        moved, other = Talk(course, 7003), Talk(course, 7004)
        added = _add(course, 10, "cell", start_destination_port=7003, start_next_header=UDP)
        course.until(4.0)
        for talk in (moved, other):
            talk.send("cn", bytes(3000))
        course.until(5.0)
        for talk in (moved, other):
            talk.send("mn", bytes(3000))
        course.until(6.0)
        received = {
            f"{name} {node}": talk.received(node)
            for name, talk in (("moved", moved), ("other", other))
            for node in ("mn", "cn")
        }
        moved.close()
        other.close()
        return {"added": added, "received": received}


def flow_level(folder: Path) -> dict[str, Any]:
    """Flow `a` moves to the cell, and its MAG knows that flow. Other packets from and to the
    prefix are sent there: case 0 of the flow, case 1 not, down; 2 and 3 the same, up. Cases 5 to 7
    are mobility signalling, an ICMPv6 error and an ICMPv6 request, down; 8 to 10 the same, up."""
    with scenario(folder) as course:
        course.attach()
        course.until(4.0)
        moved = _move(course, fid=1, to="cell")
        cn = course.job.spec.topology.nodes["cn"].address
        lma, mag = (course.job.spec.topology.nodes[name].address for name in ("lma", "mag2"))
        assert cn is not None
        address, port = course.addresses["a"], course.job.spec.flows["a"].port
        channel = socket_in(
            course.network.namespace("lma"),
            lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, IPPROTO_IPV6_IN_IPV6),
        )
        channel.bind((str(lma), 0))
        frames = _frames_to_mag(course, "cell")
        for number, its_port in enumerate((port, 7005)):
            course.until(5.0 + number / 10)
            payload = f"case {number}".encode()
            channel.sendto(_datagram(cn, address, payload, port=its_port), (str(mag), 0))
            course.until(5.5 + number / 10)
            payload = f"case {2 + number}".encode()
            datagram = _datagram(address, cn, payload, port=its_port)
            frames.send(_ethernet(course, "cell") + datagram)
        kinds = ((MOBILITY_HEADER, b"\x3b\x00"), (ICMPV6, b"\x02\x00"), (ICMPV6, b"\x80\x00"))
        for number, (protocol, start) in enumerate(kinds, start=5):
            header = start + bytes(6)
            down = PacketFields(cn, address, protocol, traffic_class=0, flow_label=0)
            data = flow_cases.octets(down, f"case {number}".encode(), header)
            channel.sendto(data, (str(mag), 0))
            up = PacketFields(address, cn, protocol, traffic_class=0, flow_label=0)
            data = flow_cases.octets(up, f"case {number + 3}".encode(), header)
            frames.send(_ethernet(course, "cell") + data)
            course.until(5.7 + number / 50)
        course.until(6.0)
        served = course.ask_node("mag2", {"op": "bindings"})["result"]
        back = _move(course, fid=1, to="wlan")
        course.until(8.0)
        after = course.ask_node("mag2", {"op": "bindings"})["result"]
        frames.send(_ethernet(course, "cell") + _datagram(address, cn, b"case 4", port=port))
        course.until(8.5)
        frames.close()
        channel.close()
        return {
            "answers": [moved, back],
            "served": served,
            "after": after,
            "bindings": course.ask("bindings"),
            "start_ns": course.unix_ns,
        }


def own_signalling(folder: Path) -> dict[str, Any]:
    """A node that decides sends all that it sends over the cell: UDP is case 0, and mobility
    signalling case 1 before and case 2 after that."""
    with scenario(folder) as course:
        course.attach()
        talk = Talk(course, 7008)
        destination = str(talk.addresses["cn"])

        def signal(number: int) -> None:
            data = bytes.fromhex("3b01000000000000") + f"case {number}".encode()
            channel = socket_in(
                course.network.namespace("mn"),
                lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, MOBILITY_HEADER),
            )
            channel.bind((str(talk.addresses["mn"]), 0))
            channel.sendto(data, (destination, 0))
            channel.close()

        course.until(4.0)
        signal(1)
        everything = {"op": "bind-flow", "fid": 9, "priority": 9, "selector": {}, "to": "mn-cell"}
        bound = course.ask_node("mn", everything)
        course.until(4.5)
        talk.send("mn", b"case 0")
        signal(2)
        course.until(5.0)
        talk.close()
        return {"bound": bound}


def default_path(folder: Path) -> list[bool]:
    """Flow 10 goes to the cell. Even cases are its packets, odd ones are of no flow; both accesses,
    without the cell, both, without the WLAN, both. Returns whether flow 10 was active."""
    with scenario(folder) as course:
        course.attach()
        flow, rest = Talk(course, 7009), Talk(course, 7010)
        _add(course, 10, "cell", start_destination_port=7009, start_next_header=UDP)
        active = []
        changes = ((None, True), ("cell", False), ("cell", True), ("wlan", False), ("wlan", True))
        for number, (access, up) in enumerate(changes):
            at_s = 4.0 + 3 * number
            course.until(at_s)
            if access is not None:
                course.network.set_access(access, up)
            course.until(at_s + 2.0)
            flow.send("cn", f"case {2 * number}".encode())
            rest.send("cn", f"case {2 * number + 1}".encode())
            active += [row["active"] for row in course.ask("flows") if row["fid"] == 10]
        course.until(at_s + 2.5)
        flow.close()
        rest.close()
        return active


def survival(folder: Path) -> dict[str, Any]:
    """Both flows of the WLAN move to the cell by one order; then the WLAN's session ends. Packets
    of no flow to the same address are cases 0, 1, ... down, and 10, 11, ... up."""
    with scenario(folder) as course:
        course.attach()
        talk, rest = Talk(course, 7006), Talk(course, 7007)
        course.until(4.0)
        its = {"start_destination_address": str(talk.addresses["mn"])}
        _add(course, 10, "wlan", start_destination_port=7006, **its)
        moved = _move(course, fid="all", to="cell")
        received = {}
        times = ((5.0, "attached"), (7.0, "deregistered"), (18.0, "gone"))
        for number, (at_s, name) in enumerate(times):
            if name == "deregistered":
                course.network.set_access("wlan", False)
            course.until(at_s)
            talk.send("cn", name.encode())
            rest.send("cn", f"case {number}".encode())
            course.until(at_s + 0.4)
            talk.send("mn", name.encode())
            with suppress(OSError):  # there is no route while its access is down
                rest.send("mn", f"case {10 + number}".encode())
            course.until(at_s + 0.8)
            received[name] = talk.received("mn") + talk.received("cn")
        bindings = course.ask("bindings")
        talk.close()
        rest.close()
        return {"moved": moved, "received": received, "bindings": bindings}
