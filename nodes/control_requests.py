"""The requests of the control sockets, as types: docs/control-socket.md explains them."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Annotated, Any, Literal

import msgspec

Fid = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Targets = int | str | list[int | str]


class ListBindings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="bindings"
):
    id: Any = None


class ListFlows(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="flows"
):
    id: Any = None


class AddFlow(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="add-flow",
    kw_only=True,
):
    """`selector` has the fields of an IPv6 traffic selector; `to` is a BID or an access name, or
    several, each of which gets a copy of each packet."""

    mn: str
    fid: Fid
    priority: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    selector: dict[str, Any]
    to: Targets
    action: Literal["forward", "drop"] = "forward"
    id: Any = None


class RemoveFlow(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="remove-flow",
    kw_only=True,
):
    mn: str
    fid: Fid
    id: Any = None


class Revoke(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="revoke",
    kw_only=True,
):
    """Of a mobile node, one binding (by BID or access name) or all; or all of a MAG, of a realm
    (what follows the "@" of MN-IDs), or of a realm at a MAG."""

    mn: str | None = None
    binding: int | str | None = None
    realm: Annotated[str, msgspec.Meta(min_length=1, max_length=253, pattern="^[^@]+$")] | None = (
        None
    )
    mag: IPv6Address | None = None
    id: Any = None


class ForceRegistration(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="force-registration",
    kw_only=True,
):
    """Of a mobile node, or of all that a MAG has."""

    mn: str | None = None
    mag: IPv6Address | None = None
    id: Any = None


class MoveFlow(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="move-flow",
    kw_only=True,
):
    """One flow, several, all of the node's, or all whose packets are addressed to `prefix`. With
    `await_ms`, `to` may be an access that the node attaches to within that time."""

    mn: str
    fid: Fid | list[Fid] | Literal["all"] | None = None
    prefix: IPv6Network | None = None
    to: Targets
    await_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)] | None = None
    id: Any = None


class FlowStatistics(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="flow-statistics"
):
    id: Any = None


class ControllerStatus(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="controller"
):
    id: Any = None


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


class BindFlow(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="bind-flow",
    kw_only=True,
):
    """The mobile node's own decision: a flow, described as at the LMA, leaves through the access
    interface `to`. A later one with the same `fid` replaces it."""

    fid: Fid
    priority: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    selector: dict[str, Any]
    to: str
    id: Any = None


class UnbindFlow(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="unbind-flow",
    kw_only=True,
):
    fid: Fid
    id: Any = None


class AttachInterface(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="attach",
    kw_only=True,
):
    """Layer-2 signalling: attach with this handoff indicator, or the configured one, to the session
    that has `prefixes`. The reply comes with the MAG's answer."""

    interface: str
    handoff_indicator: Annotated[int, msgspec.Meta(ge=1, le=6)] | None = None
    prefixes: tuple[IPv6Network, ...] = ()
    id: Any = None


class DetachInterface(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="detach",
    kw_only=True,
):
    interface: str
    id: Any = None


class AttachmentStatus(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="status"
):
    id: Any = None


MnRequest = ListFlows | BindFlow | UnbindFlow | AttachInterface | DetachInterface | AttachmentStatus


class ReportLink(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag_field="op",
    tag="report-link",
    kw_only=True,
):
    """What is known of an access link, for the MAG to report: docs/access-link-report.md."""

    interface: str
    quality: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    load: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    queue_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=65_534)] | None = None
    id: Any = None


class ListServed(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="op", tag="bindings"
):
    id: Any = None


MagRequest = ListServed | ReportLink
