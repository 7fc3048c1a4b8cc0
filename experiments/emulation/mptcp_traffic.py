"""The path manager of Multipath TCP in CN and MN: the kernel's, told which addresses to use.

Reconnecting flows and subflows come from the MN; the CN announces no address of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import NamedTuple

from experiments.declaration.access_events import BY_RECEIVER, AccessEvent, instant_s
from experiments.declaration.flows import MptcpDownload
from experiments.declaration.spec import RunSpec
from experiments.emulation.traffic import NANOSECONDS, Reconnection, sleep_until


class PathOrders(NamedTuple):
    """Lines for `ip -batch`: at once, and at instants of the run in s."""

    first: tuple[str, ...]
    later: tuple[tuple[float, tuple[str, ...]], ...] = ()


def correspondent_paths(spec: RunSpec) -> PathOrders:
    return PathOrders((_limits(spec),))


def mobile_paths(spec: RunSpec, seed: int, addresses: Mapping[str, IPv6Address]) -> PathOrders:
    """`addresses`: the MN's on each access."""
    (flow,) = [flow for flow in spec.flows.values() if isinstance(flow, MptcpDownload)]
    number = {access: index for index, access in enumerate(addresses, start=1)}
    # No `dev`: subflows would be bound to the logical interface, which leads nowhere.
    endpoints = tuple(
        f"mptcp endpoint add {address} id {number[access]} subflow"
        + (" backup" if flow.subflows == "backup" and access != flow.start else "")
        for access, address in addresses.items()
    )
    spread_ms = spec.decision_spread_ms
    later = tuple(
        (instant_s(event.at_s, spread_ms, seed), _orders(event, number))
        for event in spec.events.values()
        if event.do in ("prefer", "abandon")
    )
    return PathOrders((_limits(spec), *endpoints), tuple(sorted(later)))


def _limits(spec: RunSpec) -> str:
    return f"mptcp limits set subflows {len(spec.topology.accesses)} add_addr_accepted 0"


def _orders(event: AccessEvent, number: Mapping[str, int]) -> tuple[str, ...]:
    if event.do == "abandon":
        return (f"mptcp endpoint delete id {number[event.access]}",)
    # The new way first: at no instant are all subflows backup.
    others = [access for access in number if access != event.access]
    return (
        f"mptcp endpoint change id {number[event.access]} nobackup",
        *(f"mptcp endpoint change id {number[access]} backup" for access in others),
    )


def manage_paths(orders: PathOrders, start_ns: int) -> None:
    """In the node's namespace. Raises CalledProcessError for an order that the kernel refuses."""
    _carry_out(orders.first)
    for at_s, lines in orders.later:
        sleep_until(start_ns + round(at_s * NANOSECONDS))
        _carry_out(lines)


def _carry_out(lines: tuple[str, ...]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def reconnections(
    spec: RunSpec, seed: int, addresses: Mapping[str, IPv6Address]
) -> dict[str, Reconnection]:
    """Which flows go on from another address, and when."""
    return {
        event.flow: Reconnection(
            instant_s(event.at_s, spec.decision_spread_ms, seed), addresses[event.access]
        )
        for event in spec.events.values()
        if event.do in BY_RECEIVER and event.flow is not None
    }
