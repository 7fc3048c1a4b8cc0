"""Networks whose LMA has a controller, for tests of the paths that it makes."""

from __future__ import annotations

import itertools
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

from nodes import northbound
from nodes.actions import Action, InstallFlow, Reply, SendNorthbound
from nodes.config import MobileNodePolicy
from nodes.controller_config import FABRIC_GATEWAY, ControllerConfig
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.lma.path_control import PathControl
from nodes.wire.traffic_selector import IPv6TrafficSelector
from tests.domain import LMA, Domain, Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nodes.northbound import Request

FABRIC = (FABRIC_GATEWAY,)
MODES = ("sdn-core", "sdn-assisted")
UNREACHABLE = "the controller is unreachable"


def configured(
    mode: str, model: str = "shared", policy: dict[str, Any] | None = None, **controller: Any
) -> Network:
    """An LMA with a controller, before anything happened."""
    changes: dict[str, Any] = {"fabric_interface": "fabric"} if mode == "sdn-core" else {}
    return Network(
        MobileNodePolicy(prefix_model=model, **(policy or {})),  # type: ignore[arg-type]
        data_plane=mode,
        controller=ControllerConfig(address=LMA, **controller),
        **changes,
    )


def attached(mode: str, model: str = "shared", **controller: Any) -> Network:
    """Synchronized, and both accesses are attached."""
    network = configured(mode, model, **controller)
    for mag in ("mag1", "mag2"):
        network.attach(mag)
        network.run(0.1)
    assert network.lma.core.controller is not None
    assert network.lma.core.controller.refusal() is None
    network.messages()
    network.controller.ops()
    return network


def with_flow(mode: str, model: str = "shared", **controller: Any) -> Network:
    """And flow 1 goes over the cellular access."""
    network = attached(mode, model, **controller)
    token = network.add_flow(1, "cell", Domain.P1 if model == "shared" else Domain.P2)
    network.run(0.1)
    assert network.replies[token] == Reply(token, {"fid": 1})
    assert way(network) == (Domain.MAG2,)
    network.controller.ops()
    return network


def key(network: Network, fid: int = 1) -> int:
    return network.lma.core.flows.key(Domain.MN, fid)


def way(network: Network, fid: int = 1) -> tuple[IPv6Address, ...] | None:
    return network.controller.way(key(network, fid))


def sent(network: Network, fid: int = 1) -> tuple[IPv6Address, ...]:
    """Where the LMA itself sends packets of a flow."""
    return network.lma.forwarding.targets.get(key(network, fid), ())


def error(network: Network, token: int) -> str:
    found = network.replies[token].error
    assert found is not None
    return found


FLOW = 0x10000


def install(prefixes: tuple[IPv6Network, ...]) -> InstallFlow:
    entry = FlowMobilityCacheEntry(1, 1, IPv6TrafficSelector(), (1,))
    return InstallFlow(FLOW, entry, prefixes, Domain.MN)


def requests(actions: Sequence[Action]) -> list[Request]:
    return [action.request for action in actions if isinstance(action, SendNorthbound)]


def alone() -> tuple[PathControl, Callable[[], list[Request]]]:
    """A synchronized part of an LMA, and what it has asked for since the last call."""
    control = PathControl(
        Domain.lma_config(
            data_plane="sdn-core",
            controller=ControllerConfig(address=LMA),
            fabric_interface="fabric",
        )
    )
    control.connected(Domain.at(0))
    (sync,) = requests(control.take())
    control.received(northbound.Reply(id=sync.id, ok=True), Domain.at(0))
    return control, lambda: requests(control.take())


def fails(op: str, error: str, *, once: bool = False) -> Any:
    """A fault of requests of a kind."""
    left = itertools.count() if not once else iter([0])

    def fault(request: Request) -> str | None:
        if type(request).__struct_config__.tag != op:
            return None
        return error if next(left, None) is not None else None

    return fault


def lose(network: Network) -> None:
    """The controller is gone, and the LMA knows."""
    network.controller.reachable = False
    network.controller.break_connection()
    network.run(0.01)
