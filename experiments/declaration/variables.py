"""The configuration variables of RFC 5213 section 9, and others of the nodes, set for a run."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from nodes.config import DomainConfig, LmaConfig, MagConfig, MobileNodePolicy
from nodes.host_variables import HostVariables
from nodes.strict import convert, to_builtins

C = TypeVar("C", LmaConfig, MagConfig, MobileNodePolicy)

# What follows from the topology and the rest of the run.
_OF_THE_RUN = frozenset(
    [
        "events",
        "control_socket",
        "seed",
        "state",
        "ipsec",
        "address",
        "prefix_pool",
        "mobile_nodes",
        "accesses",
        "authorized_mags",
        "egress_addresses",
        "internet_interfaces",
        "proxy_coa",
        "lma",
        "access_interfaces",
        "layer_2_interfaces",
        "local_networks",
        "egress_address",
        "prefix_model",
        "switch",
        "prefix_delivery",
        "granularity",
        "withdrawal_delay_ms",
        "decision_maker",
        "policies",
        "min_delay_between_update_notification_replay_ms",
        "max_update_notification_retransmit_count",
        "mags",
        "enabled",
        "prefixes",
    ]
)
_ANY = IPv6Address("2001:db8::1")
_LMA = LmaConfig(
    events=Path("/"),
    address=_ANY,
    prefix_pool=IPv6Network("2001:db8::/48"),
    mobile_nodes={},
    accesses={},
    authorized_mags=(),
)
_MAG = MagConfig(events=Path("/"), proxy_coa=_ANY, lma=_ANY, access_interfaces={})


class Variables(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Names and values are those of `nodes.config`. `domain`: of the LMA and all MAGs, which have
    to agree on them (RFC 5213 section 9.3); `lma`, `mag`: of the LMA, of all MAGs; `mobile_node`:
    of the LMA's policy of the MN; `host`: of the MN itself. What the rest of a run's
    description decides isn't set here."""

    domain: dict[str, Any] = {}
    lma: dict[str, Any] = {}
    mag: dict[str, Any] = {}
    mobile_node: dict[str, Any] = {}
    host: HostVariables = HostVariables()

    def __post_init__(self) -> None:
        of_domain = set(DomainConfig.__struct_fields__)
        for table, allowed in (
            ("domain", of_domain),
            ("lma", set(LmaConfig.__struct_fields__) - of_domain),
            ("mag", set(MagConfig.__struct_fields__) - of_domain),
            ("mobile_node", set(MobileNodePolicy.__struct_fields__)),
        ):
            for name in getattr(self, table):
                if name not in allowed - _OF_THE_RUN:
                    known = ", ".join(sorted(allowed - _OF_THE_RUN))
                    raise ValueError(f"variables.{table}: {name!r}; expected one of {known}")
        self.of_lma(_LMA)
        self.of_mag(_MAG)
        self.of_mobile_node(MobileNodePolicy())

    def of_lma(self, config: LmaConfig) -> LmaConfig:
        return _changed(config, {**self.domain, **self.lma})

    def of_mag(self, config: MagConfig) -> MagConfig:
        return _changed(config, {**self.domain, **self.mag})

    def of_mobile_node(self, policy: MobileNodePolicy) -> MobileNodePolicy:
        return _changed(policy, self.mobile_node)


def _changed(config: C, changes: Mapping[str, Any]) -> C:
    """`config` itself without changes. Raises InputError, which is a ValueError."""
    if not changes:
        return config
    return convert({**to_builtins(config), **changes}, type(config), "variables")
