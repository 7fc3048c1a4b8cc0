"""The requests of the control sockets, as types: docs/control-socket.md explains them."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

import msgspec

Fid = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Targets = int | str | list[int | str]


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op"):
    """`id` comes back in the reply."""

    id: Any = None


class ListBindings(_Request, frozen=True, kw_only=True, tag="bindings"):
    """Of one mobile node, or of all."""

    mn: str | None = None


class ListFlows(_Request, frozen=True, kw_only=True, tag="flows"):
    pass


class AddFlow(_Request, frozen=True, kw_only=True, tag="add-flow"):
    """`selector` has the fields of an IPv6 traffic selector; `to` is a BID or an access name, or
    several, each of which gets a copy of each packet."""

    mn: str
    fid: Fid
    priority: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    selector: dict[str, Any]
    to: Targets
    action: Literal["forward", "drop"] = "forward"


class RemoveFlow(_Request, frozen=True, kw_only=True, tag="remove-flow"):
    mn: str
    fid: Fid


class Revoke(_Request, frozen=True, kw_only=True, tag="revoke"):
    """Of a mobile node, one binding (by BID or access name) or all; or all of a MAG, of a realm
    (what follows the "@" of MN-IDs), or of a realm at a MAG."""

    mn: str | None = None
    binding: int | str | None = None
    realm: Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern="^[^@]+$")] | None = (
        None
    )
    mag: IPv6Address | None = None


class ForceRegistration(_Request, frozen=True, kw_only=True, tag="force-registration"):
    """Of a mobile node, or of all that a MAG has."""

    mn: str | None = None
    mag: IPv6Address | None = None


class MoveFlow(_Request, frozen=True, kw_only=True, tag="move-flow"):
    """One flow, several, all of the node's, or all whose packets are addressed to `prefix`. With
    `await_ms`, `to` may be an access that the node attaches to within that time."""

    mn: str
    fid: Fid | list[Fid] | Literal["all"] | None = None
    prefix: IPv6Network | None = None
    to: Targets
    await_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] | None = None


class FlowStatistics(_Request, frozen=True, kw_only=True, tag="flow-statistics"):
    pass


class ControllerStatus(_Request, frozen=True, kw_only=True, tag="controller"):
    pass


LmaRequest = (
    ListBindings
    | ListFlows
    | AddFlow
    | RemoveFlow
    | MoveFlow
    | Revoke
    | ForceRegistration
    | FlowStatistics
    | ControllerStatus
)


class BindFlow(_Request, frozen=True, kw_only=True, tag="bind-flow"):
    """The mobile node's own decision: a flow, described as at the LMA, leaves through the access
    interface `to`. A later one with the same `fid` replaces it."""

    fid: Fid
    priority: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    selector: dict[str, Any]
    to: str


class UnbindFlow(_Request, frozen=True, kw_only=True, tag="unbind-flow"):
    fid: Fid


class AttachInterface(_Request, frozen=True, kw_only=True, tag="attach"):
    """Layer-2 signalling: attach with this handoff indicator, or the configured one, to the session
    that has `prefixes`. The reply comes with the MAG's answer."""

    interface: str
    handoff_indicator: Annotated[int, msgspec.Meta(ge=1, le=6)] | None = None
    prefixes: tuple[IPv6Network, ...] = ()


class DetachInterface(_Request, frozen=True, kw_only=True, tag="detach"):
    interface: str


class AttachmentStatus(_Request, frozen=True, kw_only=True, tag="status"):
    pass


MnRequest = ListFlows | BindFlow | UnbindFlow | AttachInterface | DetachInterface | AttachmentStatus


class ReportLink(_Request, frozen=True, kw_only=True, tag="report-link"):
    """What is known of an access link, for the MAG to report: docs/access-link-report.md."""

    interface: str
    quality: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    load: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    queue_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=65_534)] | None = None


class ListServed(_Request, frozen=True, kw_only=True, tag="bindings"):
    pass


MagRequest = ListServed | ReportLink
