"""From the instant at which an access comes up until an address of its prefix can be used.

`ready_ms` is all of it. `ready_signalling_ms`: until the LMA has sent the PBA that registers the
access; `ready_path_ms`: the declared delay from LMA to MN, which the PBA and the Router
Advertisement that follows it need; `ready_ra_ms`: what the advertisement took longer;
`ready_dad_ms`: Duplicate Address Detection. Their sum is `ready_ms`.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.analysis import floor
from experiments.analysis.event_log import Event
from experiments.analysis.signalling import BINDING_ACK, Signalling
from experiments.captures.frames import TICKS_PER_MS
from experiments.declaration.spec import RunSpec
from topologies.model import Role


def readiness_columns(
    spec: RunSpec, access: str, events: Sequence[Event], signalling: Signalling
) -> dict[str, float | None]:
    """Of the first time that the access comes up. Nothing where it isn't attached so, or where its
    MAG advertises no prefix that is new to the MN, as with a shared one."""
    mn = spec.topology.node_with_role(Role.MN)
    interface = spec.topology.access_link(access).interface(mn)
    mag = spec.topology.nodes[floor.mag_of(spec.topology, access)].address

    def first(name: str, node: str | None, **detail: str) -> int | None:
        for tick, where, event, found in events:
            if event == name and node in (None, where) and detail.items() <= found.items():
                return tick
        return None

    attached = first("attach", None, access=access)
    advertised = first("router", mn, interface=interface)
    usable = first("address", mn, interface=interface)
    if attached is None or advertised is None or usable is None:
        return {}
    registered = next(
        (
            message.tick
            for message in signalling.control
            if (message.type, message.outbound, message.peer) == (BINDING_ACK, True, mag)
            and message.tick >= attached
        ),
        None,
    )
    if registered is None:
        return {}
    path_ms = floor.access_delay_ms(spec.topology, access)
    return {
        "ready_ms": _ms(usable - attached),
        "ready_signalling_ms": _ms(registered - attached),
        "ready_path_ms": path_ms,
        "ready_ra_ms": round(_ms(advertised - registered) - path_ms, 2),
        "ready_dad_ms": _ms(usable - advertised),
    }


def _ms(duration: int) -> float:
    return round(duration / TICKS_PER_MS, 2)
