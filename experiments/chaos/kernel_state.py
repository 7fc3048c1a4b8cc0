"""The state of a network namespace, as the kernel tells it: links, addresses, routes, rules, and
the nftables table of a node. Read by netlink in this process, because each command takes tens of
milliseconds in a guest, and there are thousands of looks in a run.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address
from typing import Any

from nftables import Nftables

from nodes.kernel.netlink import (
    FRA_DST,
    FRA_FWMARK,
    FRA_IIFNAME,
    FRA_PRIORITY,
    FRA_SRC,
    FRA_TABLE,
    IFF_UP,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_IPTUN_LOCAL,
    IFLA_IPTUN_REMOTE,
    IFLA_LINKINFO,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_HEADER_BYTES,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_TABLE,
    RTM_GETLINK,
    RTM_GETROUTE,
)
from nodes.kernel.netlink_replies import NLMSG_DONE, NLMSG_ERROR, attributes
from topologies.namespaces import inside

RTM_GETADDR, RTM_GETRULE = 22, 34
LINK_HEADER, ADDRESS_HEADER, ROUTE_HEADER, RULE_HEADER = 16, 8, 12, 12
IFA_ADDRESS = 1
KINDS = {1: "unicast", 2: "local", 6: "blackhole"}
RTM_F_CLONED = 0x200
NFTABLES_TABLE = "ip6 flowmob"
JSON = dict[str, Any]


class KernelState:
    """Of a namespace. Made once and asked often."""

    def __init__(self, namespace: int) -> None:
        self._namespace = namespace
        with inside(namespace):
            self._open()

    def _open(self) -> None:
        self._channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._nftables = Nftables()
        self._nftables.set_json_output(True)

    def close(self) -> None:
        self._channel.close()

    def look(self, *, nftables: bool) -> JSON:
        """Everything; `nftables`: also the node's table, None if there is none."""
        links = dict(link(body) for body in self._dump(RTM_GETLINK, LINK_HEADER))
        names = {entry["index"]: name for name, entry in links.items()}
        state: JSON = {
            "links": links,
            "addresses": [address(body, names) for body in self._dump(RTM_GETADDR, ADDRESS_HEADER)],
            "routes": [
                found
                for body in self._dump(RTM_GETROUTE, ROUTE_HEADER)
                if (found := route(body, names)) is not None
            ],
            "rules": [rule(body) for body in self._dump(RTM_GETRULE, RULE_HEADER)],
        }
        if nftables:
            # The library asks for the names of interfaces where the caller is.
            with inside(self._namespace):
                status, output, _ = self._nftables.cmd(f"list table {NFTABLES_TABLE}")
            state["nftables"] = None if status else json.loads(output)["nftables"]
        return state

    def _dump(self, kind: int, header_bytes: int) -> Iterator[bytes]:
        body = struct.pack("=B", socket.AF_INET6 if kind != RTM_GETLINK else 0)
        body += bytes(header_bytes - 1)
        length = NLMSG_HEADER_BYTES + len(body)
        flags = NLM_F_REQUEST | NLM_F_DUMP
        self._channel.send(struct.pack("=IHHII", length, kind, flags, 0, 0) + body)
        while True:
            data = self._channel.recv(1 << 18)
            offset = 0
            while offset < len(data):
                length, found, _, _, _ = struct.unpack_from("=IHHII", data, offset)
                if found == NLMSG_DONE:
                    return
                if found == NLMSG_ERROR:
                    raise OSError(f"netlink request {kind} was refused")
                yield data[offset + NLMSG_HEADER_BYTES : offset + length]
                offset += length + -length % 4


def link(body: bytes) -> tuple[str, JSON]:
    index, flags = struct.unpack_from("=iI", body, 4)
    found = dict(attributes(body[LINK_HEADER:]))
    entry: JSON = {"index": index, "up": bool(flags & IFF_UP)}
    info = dict(attributes(found.get(IFLA_LINKINFO, b"")))
    kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    if kind:
        entry["kind"] = kind
    if kind == "ip6tnl":
        data = dict(attributes(info.get(IFLA_INFO_DATA, b"")))
        entry["local"] = str(IPv6Address(data[IFLA_IPTUN_LOCAL]))
        entry["remote"] = str(IPv6Address(data[IFLA_IPTUN_REMOTE]))
    return found[IFLA_IFNAME].rstrip(b"\0").decode(), entry


def address(body: bytes, names: dict[int, str]) -> list[str]:
    """Interface, and address with its prefix length."""
    length, index = body[1], struct.unpack_from("=I", body, 4)[0]
    found = dict(attributes(body[ADDRESS_HEADER:]))
    return [names.get(index, str(index)), f"{IPv6Address(found[IFA_ADDRESS])}/{length}"]


def route(body: bytes, names: dict[int, str]) -> JSON | None:
    """None for what the kernel made for itself."""
    kind, flags = body[7], struct.unpack_from("=I", body, 8)[0]
    if kind not in KINDS or flags & RTM_F_CLONED or kind == 2:
        return None
    found = dict(attributes(body[ROUTE_HEADER:]))
    entry: JSON = {
        "table": struct.unpack("=I", found[RTA_TABLE])[0],
        "to": f"{IPv6Address(found.get(RTA_DST, bytes(16)))}/{body[1]}",
        "kind": KINDS[kind],
    }
    if RTA_OIF in found:
        index = struct.unpack("=I", found[RTA_OIF])[0]
        entry["dev"] = names.get(index, str(index))
    if RTA_GATEWAY in found:
        entry["via"] = str(IPv6Address(found[RTA_GATEWAY]))
    return entry


def rule(body: bytes) -> JSON:
    """A rule without a table drops."""
    found = dict(attributes(body[RULE_HEADER:]))
    entry: JSON = {"priority": _number(found, FRA_PRIORITY), "action": body[7]}
    if FRA_TABLE in found and _number(found, FRA_TABLE):
        entry["table"] = _number(found, FRA_TABLE)
    if FRA_FWMARK in found:
        entry["mark"] = _number(found, FRA_FWMARK)
    if FRA_SRC in found:
        entry["from"] = f"{IPv6Address(found[FRA_SRC])}/{body[2]}"
    if FRA_DST in found:
        entry["to"] = f"{IPv6Address(found[FRA_DST])}/{body[1]}"
    if FRA_IIFNAME in found:
        entry["iif"] = found[FRA_IIFNAME].rstrip(b"\0").decode()
    return entry


def _number(found: dict[int, bytes], kind: int) -> int:
    return int.from_bytes(found.get(kind, bytes(4)), "little")
