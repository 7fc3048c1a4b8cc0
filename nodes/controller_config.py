"""The data planes of LMA and MAG, and the controller that the LMA's paths can be made by."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Annotated, Literal

import msgspec

from nodes.northbound import Mode

Fallback = Literal["refuse", "tunnel"]
MagDataPlane = Literal["tunnel", "native"]

# The gateway of LMA and MAGs where the switched core carries packets without a tunnel: a neighbour
# that is nobody, so that nothing has to be resolved.
FABRIC_GATEWAY = IPv6Address("fe80::fab")
FABRIC_MAC = "02:00:00:00:0f:ab"

REQUEST_TIMEOUT_MS = 5_000


class ControllerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the controller listens for the LMA (docs/northbound.md).

    One that hasn't answered a request after `request_timeout_ms` counts as lost; it is connected to
    again `reconnect_delay_ms` after that, and what it could not do is asked for again after
    `retry_delay_ms`, or as soon as its switches have changed. While it is lost, moves are refused,
    or the LMA's own tunnels carry what has moved (`fallback`).
    """

    address: IPv6Address
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 6_680
    request_timeout_ms: Annotated[int, msgspec.Meta(ge=10)] = REQUEST_TIMEOUT_MS
    reconnect_delay_ms: Annotated[int, msgspec.Meta(ge=10)] = 1_000
    retry_delay_ms: Annotated[int, msgspec.Meta(ge=100)] = 10_000
    fallback: Fallback = "refuse"


def check_lma(
    data_plane: Mode,
    controller: ControllerConfig | None,
    fabric_interface: str | None,
    deciding_nodes: tuple[str, ...],
) -> None:
    """`deciding_nodes`: the mobile nodes that decide themselves. Raises ValueError."""
    if data_plane == "tunnel":
        if controller is not None:
            raise ValueError(
                'controller is set, and data_plane is "tunnel"; '
                'expected "sdn-core" or "sdn-assisted", or no controller'
            )
    elif controller is None:
        raise ValueError(f'controller is missing; data_plane "{data_plane}" needs one')
    if (data_plane == "sdn-core") != (fabric_interface is not None):
        shown = "missing" if fabric_interface is None else repr(fabric_interface)
        expected = "an interface" if fabric_interface is None else 'none but with "sdn-core"'
        raise ValueError(
            f'fabric_interface is {shown}; data_plane is "{data_plane}"; expected {expected}'
        )
    if data_plane == "sdn-core" and deciding_nodes:
        # The LMA follows such a node by the tunnel that its uplink packets come through.
        raise ValueError(
            f'mobile_nodes.{deciding_nodes[0]}.decision_maker is "mn"; expected "lma", '
            'because without tunnels (data_plane "sdn-core") the LMA can\'t see what it decides'
        )


def check_hold(key: str, hold_ms: int, data_plane: Mode) -> None:
    """Raises ValueError."""
    if hold_ms and data_plane != "tunnel":
        raise ValueError(
            f'{key} is {hold_ms}, and data_plane is "{data_plane}"; expected 0, because only '
            "the LMA's tunnels hold packets"
        )


def check_mag(
    data_plane: MagDataPlane,
    fabric_interface: str | None,
    access_interfaces: tuple[str, ...],
    lmas: int,
) -> None:
    """`lmas`: how many the MAG has. Raises ValueError."""
    if (data_plane == "native") != (fabric_interface is not None):
        shown = "missing" if fabric_interface is None else repr(fabric_interface)
        expected = "an interface" if fabric_interface is None else 'none but with "native"'
        raise ValueError(
            f'fabric_interface is {shown}; data_plane is "{data_plane}"; expected {expected}'
        )
    if fabric_interface in access_interfaces:
        raise ValueError(
            f"fabric_interface is {fabric_interface!r}, an access interface; expected another"
        )
    if data_plane == "native" and lmas > 1:
        # Without a tunnel nothing says which of them an uplink packet is for.
        raise ValueError(f'data_plane is "native", with {lmas} LMAs; expected one')
