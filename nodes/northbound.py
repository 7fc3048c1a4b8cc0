"""What the LMA and an OpenFlow controller tell each other: docs/northbound.md.

One JSON object a line, over TCP. Requests set state and have increasing `id`s, so that one that is
repeated changes nothing. The first on a connection is `Sync`, which has all there is to know.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

import msgspec

_KEY = re.compile(r"[1-9][0-9]{0,9}")

RequestId = Annotated[int, msgspec.Meta(ge=1)]
FlowKey = Annotated[int, msgspec.Meta(ge=1, le=0xFFFF_FFFF)]
FlowLabel = Annotated[int, msgspec.Meta(ge=1, le=0xF_FFFF)]
Count = Annotated[int, msgspec.Meta(ge=0)]

Mode = Literal["tunnel", "sdn-core", "sdn-assisted"]


class PrefixPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The default path of a home network prefix: to this MAG; None: its packets are dropped (RFC
    5213 section 5.3.5)."""

    prefix: IPv6Network
    mag: IPv6Address | None = None


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row of the LMA's flow mobility cache. `key` names it in this LMA; `prefixes` are those that
    its packets are addressed to; `selector` has the fields of an IPv6 traffic selector by name, as
    on the control socket; `label` is the flow label of its packets in the tunnel."""

    key: FlowKey
    mn: str
    fid: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]
    priority: Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]
    selector: dict[str, Any]
    prefixes: tuple[IPv6Network, ...]
    action: Literal["forward", "drop"] = "forward"
    label: FlowLabel


class FlowPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A copy of each packet of a flow goes to each of `mags`; none: it takes the default path.
    `anchor`, with tunnels, is the MAG whose tunnel the LMA sends them through."""

    key: FlowKey
    mags: tuple[IPv6Address, ...]
    anchor: IPv6Address | None = None


class _Request(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="op"
):
    id: RequestId


class Sync(_Request, frozen=True, tag="sync"):
    """All that holds from now on; what isn't in it goes. `epoch` changes when the LMA has started
    anew, and its request numbers with it."""

    epoch: int
    mode: Mode
    prefixes: tuple[PrefixPath, ...] = ()
    flows: tuple[Flow, ...] = ()
    paths: tuple[FlowPath, ...] = ()


class Attach(_Request, frozen=True, tag="attach"):
    """An access of a mobile node has a prefix, which goes this way unless a flow says otherwise."""

    path: PrefixPath


class Detach(_Request, frozen=True, tag="detach"):
    prefix: IPv6Network


class AddFlow(_Request, frozen=True, tag="add-flow"):
    """Another one with the same key replaces it, and keeps its path."""

    flow: Flow
    path: FlowPath


class MoveFlows(_Request, frozen=True, tag="move-flows"):
    """All of them, in one batch of messages to each switch, or none."""

    paths: tuple[FlowPath, ...]


class RemoveFlow(_Request, frozen=True, tag="remove-flow"):
    key: FlowKey


class ListFlows(_Request, frozen=True, tag="list-flows"):
    """The result: the rules by flow and switch, and what they counted."""


Request = Sync | Attach | Detach | AddFlow | MoveFlows | RemoveFlow | ListFlows


class Reply(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True
):
    """To request `id`, when it is done: `error` says why it could not be."""

    id: RequestId
    ok: bool
    error: str | None = None
    result: Any = None


def refused_flows(reply: Reply) -> dict[int, str]:
    """Of a `Sync`: the flows that switches can't have rules for, by key, and why. What is no key
    is left out: it is about no flow."""
    found = reply.result.get("refused") if isinstance(reply.result, dict) else None
    if not isinstance(found, dict):
        return {}
    return {int(key): str(why) for key, why in found.items() if _KEY.fullmatch(str(key))}


class Switches(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="event",
    tag="switches",
):
    """Which switches have the rules that they should have, and which can't be reached."""

    ready: tuple[str, ...]
    lost: tuple[str, ...]


class FlowCount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the first switch that has a rule for the flow has counted since it has this path."""

    key: FlowKey
    mags: tuple[IPv6Address, ...]
    packets: Count
    octets: Count


class Statistics(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="event",
    tag="statistics",
):
    flows: tuple[FlowCount, ...]


Event = Switches | Statistics
