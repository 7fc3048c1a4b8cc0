"""Configuration of the redirection application, as it reads it from TOML or is given it.

Where switches connect, and the framework, is `controllers.process`'s.

Durations are in the unit that the name ends with.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated

import msgspec

from controllers.fabric import Fabric, FabricDescription, FabricError
from nodes.controller_config import REQUEST_TIMEOUT_MS

DatapathId = Annotated[int, msgspec.Meta(ge=1, le=0x7FFF_FFFF_FFFF_FFFF)]
TcpPort = Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0)]
PositiveMilliseconds = Annotated[int, msgspec.Meta(ge=1)]

LOOPBACK = IPv6Address("::1")
NORTHBOUND_PORT = 6680  # not assigned by IANA


class Timers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`drain_ms`: how long rules of a path that a flow has left stay, for the packets that are on
    it: longer than the path's delay. A switch that has not answered a barrier within
    `barrier_timeout_ms`, asked 1 + `barrier_retries` times, is lost, and so is one that has not
    connected `connect_timeout_ms` after the controller's start. `retry_ms`: before rules that a
    switch has refused are sent once more. `statistics_interval_ms` of 0: no statistics.
    `request_timeout_ms` is the LMA's: a request that a switch doesn't do has failed by then."""

    drain_ms: Milliseconds = 1_000
    barrier_timeout_ms: PositiveMilliseconds = 1_000
    barrier_retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    connect_timeout_ms: Milliseconds = 3_000
    retry_ms: PositiveMilliseconds = 5_000
    statistics_interval_ms: Milliseconds = 1_000
    request_timeout_ms: PositiveMilliseconds = REQUEST_TIMEOUT_MS

    def __post_init__(self) -> None:
        longest_ms = self.barrier_timeout_ms * (1 + self.barrier_retries)
        if longest_ms >= self.request_timeout_ms:
            raise ValueError(
                f"barrier_timeout_ms is {self.barrier_timeout_ms} and barrier_retries is "
                f"{self.barrier_retries}, which makes {longest_ms} ms; expected less than "
                f"request_timeout_ms, {self.request_timeout_ms}"
            )
        if self.connect_timeout_ms >= self.request_timeout_ms:
            raise ValueError(
                f"connect_timeout_ms is {self.connect_timeout_ms}; "
                f"expected less than request_timeout_ms, {self.request_timeout_ms}"
            )


class RedirectionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`datapath_ids` has the number by which each switch of the fabric makes itself known. The LMA
    is heard at `northbound_address`, and only from `lma_addresses`."""

    events: Path
    fabric: FabricDescription
    datapath_ids: dict[str, DatapathId]
    timers: Timers = Timers()
    northbound_address: IPv6Address = LOOPBACK
    northbound_port: TcpPort = NORTHBOUND_PORT
    lma_addresses: tuple[IPv6Address, ...] = (LOOPBACK,)

    def __post_init__(self) -> None:
        if not self.lma_addresses:
            raise ValueError("lma_addresses is empty; expected the addresses that LMAs come from")
        try:
            Fabric(self.fabric)
        except FabricError as error:
            raise ValueError(f"fabric: {error}") from None
        for name in self.fabric.switches:
            if name not in self.datapath_ids:
                raise ValueError(f"datapath_ids has no {name!r}; expected all of fabric.switches")
        names: dict[int, str] = {}
        for name, number in self.datapath_ids.items():
            if name not in self.fabric.switches:
                raise ValueError(
                    f"datapath_ids has {name!r}; expected some of fabric.switches: "
                    f"{', '.join(self.fabric.switches)}"
                )
            if number in names:
                raise ValueError(
                    f"datapath_ids.{name} is {number}, that of {names[number]}; "
                    "expected another for each switch"
                )
            names[number] = name
