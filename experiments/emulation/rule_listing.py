"""What the switches of a running testbed do with packets, in terms of flows and bindings."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address
from typing import Any, NamedTuple

from controllers.config import NORTHBOUND_PORT
from controllers.fabric import Fabric
from controllers.openflow import Action, Match, Output, Rule, SetField
from controllers.rule_text import Known, describe
from controllers.rules import flow_priority
from nodes.northbound import Flow, FlowPath
from topologies.namespaces import socket_in

LIMIT_S = 10.0


class Listed(NamedTuple):
    """A rule as the controller has it from a switch."""

    switch: str
    rule: Rule
    packets: int


def list_flows(namespace: int, port: int = NORTHBOUND_PORT) -> dict[str, Any]:
    """What the controller in this namespace answers to `list-flows` (docs/northbound.md), which it
    takes from the switches. Raises OSError, ValueError."""
    connection = socket_in(namespace, lambda: socket.socket(socket.AF_INET6))
    with connection:
        connection.settimeout(LIMIT_S)
        connection.connect(("::1", port))
        connection.sendall(b'{"op":"list-flows","id":1}\n')
        with connection.makefile("rb") as lines:
            reply = json.loads(lines.readline())
    if not reply["ok"]:
        raise ValueError(reply["error"])
    result: dict[str, Any] = reply["result"]
    return result


def rule_lines(fabric: Fabric, listing: Mapping[str, Any], switch: str | None = None) -> list[str]:
    """A line for each rule of flows and default paths, switch by switch from the LMA outwards, and
    what else there is to say. `switch`: of this one only."""
    known = _known(fabric, listing)
    owners = [*listing["prefixes"], *listing["flows"]]
    found = [*_listed(rule for owner in owners for rule in owner["rules"])]
    found += _listed(listing["old"])
    names = [name for name in fabric.switches if switch in (None, name)]
    lines = []
    for name in sorted(names, key=fabric.depth):
        rules = [entry for entry in found if entry.switch == name]
        for entry in sorted(rules, key=lambda entry: (entry.rule.table, -entry.rule.priority)):
            text = describe(known, name, entry.rule)
            lines.append(f"{name}  {text} ({entry.packets} packets)")
        if name in listing["unknown"]:
            lines.append(f"{name}  doesn't answer")
    for flow in listing["flows"]:
        if not flow["rules"]:
            lines.append(f"flow {flow['mn']}/{flow['fid']} has no rules: as the LMA sends it")
        if flow["state"] != "in force":
            lines.append(f"flow {flow['mn']}/{flow['fid']} is {flow['state']}")
    return [*lines, f"and {listing['base']} base rules of all switches"]


def _listed(shown: Iterable[Mapping[str, Any]]) -> Iterator[Listed]:
    for entry in shown:
        rule = Rule(
            entry["table"],
            entry["priority"],
            Match.from_openflow(entry["match"]),
            tuple(_action(text) for text in entry["actions"]),
            entry["cookie"],
        )
        yield Listed(entry["switch"], rule, entry["packets"])


def _action(text: str) -> Action:
    kind, _, value = text.partition(":")
    if kind == "output":
        return Output(int(value))
    value, _, field = value.rpartition("->")
    return SetField(field, value)


def _known(fabric: Fabric, listing: Mapping[str, Any]) -> Known:
    flows, paths = {}, {}
    for entry in listing["flows"]:
        key, mags = entry["key"], tuple(IPv6Address(mag) for mag in entry["mags"])
        paths[key] = FlowPath(key=key, mags=mags)
        if entry["rules"]:
            flows[key] = Flow(
                key=key,
                mn=entry["mn"],
                fid=entry["fid"],
                priority=flow_priority(entry["rules"][0]["priority"]),
                selector={},
                prefixes=(),
                label=1,
            )
    return Known(fabric, flows, paths)
