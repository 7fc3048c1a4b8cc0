"""Policies: what at the LMA decides that a flow moves, besides an operator's command.

RFC 7864 section 3.1 leaves the trigger open. A policy is a plug-in: a class with the two methods of
`base.Policy`, made from its own settings. Those of this package are known by their `kind`; any
other class is named as "package.module:Class".
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from nodes.lma.policies.base import Policy
from nodes.strict import MISSING, InputError, convert

BUILT_IN = {
    "traffic-class": "nodes.lma.policies.traffic_class:TrafficClassPolicy",
    "link-quality": "nodes.lma.policies.link_quality:LinkQualityPolicy",
    "load-balance": "nodes.lma.policies.load_balance:LoadBalancePolicy",
}
COUNTING = BUILT_IN["load-balance"]


def make_policy(settings: Mapping[str, Any], source: str, *, counted: bool) -> Policy:
    """The policy that `settings` describe: `kind` and what its class has in `Settings`, a msgspec
    structure. `counted`: switches count the packets of each flow, wherever it goes. Raises
    InputError, in which `source` says where the settings are."""
    kind = settings.get("kind", MISSING)
    expected = f"expected one of {', '.join(BUILT_IN)}, or a class as package.module:Class"
    if not isinstance(kind, str):
        raise InputError(source, "kind", kind, expected)
    module, _, name = BUILT_IN.get(kind, kind).partition(":")
    try:
        found = getattr(import_module(module), name) if name else None
    except (ImportError, AttributeError) as error:
        raise InputError(source, "kind", kind, f"{expected} ({error})") from None
    if found is None or not hasattr(found, "Settings"):
        raise InputError(source, "kind", kind, expected)
    rest = {key: value for key, value in settings.items() if key != "kind"}
    if BUILT_IN.get(kind, kind) == COUNTING and rest.get("capacities") and not counted:
        why = 'expected none but with data_plane "sdn-core", where switches count all flows'
        raise InputError(f"{source} ({kind})", "capacities", rest["capacities"], why)
    policy: Policy = found(convert(rest, found.Settings, f"{source} ({kind})"))
    return policy
