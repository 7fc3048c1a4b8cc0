"""Rules on a real switch: what it makes of them, and of packets."""

from __future__ import annotations

import json
import re
import socket
import struct
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_v1_3
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from controllers.fabric import Fabric
from controllers.flow_entries import flow_mod, flow_stats_request, rule_of
from controllers.openflow import Rule
from controllers.rules import base_rules, flow_rules, prefix_rules
from nodes.northbound import Flow, PrefixPath
from tests.system.guest_checks.switching import bed, switched
from topologies.fabric import fabric_description

SWITCH, LMA_PORT = "s1", 1
HEADER_OCTETS = 8
RECEIVE_BYTES = 65_536
UNIXCTL_LIMIT_S = 10.0


class Channel:
    """An OpenFlow channel to a switch through its management socket."""

    def __init__(self, path: Path) -> None:
        self._datapath = ProtocolDesc(ofproto_v1_3.OFP_VERSION)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rb")
        self._send(self._datapath.ofproto_parser.OFPHello(self._datapath))
        self._receive()

    def close(self) -> None:
        self._stream.close()
        self._socket.close()

    def _send(self, message: Any) -> None:
        message.set_xid(1)
        message.serialize()
        self._socket.sendall(message.buf)

    def _receive(self) -> Any:
        head = self._stream.read(HEADER_OCTETS)
        version, kind, length, xid = struct.unpack("!BBHI", head)
        octets = head + self._stream.read(length - HEADER_OCTETS)
        return ofproto_parser.msg(self._datapath, version, kind, length, xid, octets)

    def change(self, rules: list[Rule], command: int) -> list[str]:
        """Errors up to the answer to a barrier."""
        for rule in rules:
            self._send(flow_mod(self._datapath, rule, command))
        self._send(self._datapath.ofproto_parser.OFPBarrierRequest(self._datapath))
        errors = []
        while type(message := self._receive()).__name__ != "OFPBarrierReply":
            errors.append(str(message))
        return errors

    def rules(self) -> list[Rule]:
        self._send(flow_stats_request(self._datapath))
        found = []
        while True:
            message = self._receive()
            found += [rule_of(entry) for entry in message.body]
            if not message.flags & ofproto_v1_3.OFPMPF_REPLY_MORE:
                return found


def outputs(control: Path, switch: str, port: int, packet: str) -> list[int]:
    """Ports through which the switch would send a frame, given in hex, that comes in at `port`."""
    order = {"id": 0, "method": "ofproto/trace", "params": [switch, f"in_port={port}", packet]}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(UNIXCTL_LIMIT_S)
        connection.connect(str(control))
        connection.sendall(json.dumps(order).encode())
        text = b""
        while True:
            text += connection.recv(RECEIVE_BYTES)
            try:
                answer = json.loads(text)
            except json.JSONDecodeError:
                continue
            break
    assert answer["error"] is None, answer["error"]
    return [int(number) for number in re.findall(r"^ *output:(\d+)$", answer["result"], re.M)]


def tracing(
    folder: Path, prefix: str, selectors: list[dict[str, Any]], packets: list[str]
) -> dict[str, Any]:
    """Per selector of a flow to the second MAG of a prefix that goes to the first: whether the
    switch has exactly the rules that it was sent, and where each packet leaves it."""
    topology = switched()
    fabric = Fabric(fabric_description(topology))
    first, second = (mag.addresses[0] for mag in fabric.mags)
    home = IPv6Network(prefix)
    found: dict[str, Any] = {"errors": [], "same": [], "outputs": [], "left": []}
    with bed(folder, topology) as (_, switches):
        channel = Channel(switches.state / f"{SWITCH}.mgmt")
        base = base_rules(fabric)[SWITCH]
        base += prefix_rules(fabric, PrefixPath(prefix=home, mag=first))[SWITCH]
        found["errors"] += channel.change(list(base), ofproto_v1_3.OFPFC_ADD)
        for selector in selectors:
            flow = Flow(
                key=65536,
                mn="mn",
                fid=1,
                priority=1,
                selector=selector,
                prefixes=(home,),
                label=1,
            )
            rules = list(flow_rules(fabric, flow, (second,))[SWITCH])
            found["errors"] += channel.change(rules, ofproto_v1_3.OFPFC_ADD)
            found["same"].append(set(channel.rules()) == {*base, *rules})
            control = switches.state / "ovs-vswitchd.ctl"
            found["outputs"].append(
                [outputs(control, SWITCH, LMA_PORT, packet) for packet in packets]
            )
            found["errors"] += channel.change(rules, ofproto_v1_3.OFPFC_DELETE_STRICT)
            found["left"].append(len(set(channel.rules()) - set(base)))
        channel.close()
    return found
