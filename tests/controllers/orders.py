"""Worlds of switches that tests of the redirection begin with, and what they order."""

from __future__ import annotations

from ipaddress import IPv6Address

from controllers.actions import SendRules
from nodes.northbound import (
    AddFlow,
    Attach,
)
from tests.controllers.fabrics import HOME, MAG1
from tests.controllers.model import World, default, flow, path

MN = HOME[1]
Mags = tuple[IPv6Address, ...]
NO_SPI = "OpenFlow 1.3 has no such field; expected a selector without SPI"


def answers(world: World) -> list[tuple[int, bool, str | None]]:
    found = [(reply.id, reply.ok, reply.error) for _, reply in world.replies]
    world.replies.clear()
    return found


def settle(world: World, *requests: object) -> None:
    for request in requests:
        world.request(request)  # type: ignore[arg-type]
        world.deliver()
    world.wait(5)
    assert all(ok for _, ok, _ in answers(world))


def batches(world: World) -> list[tuple[str, list[str]]]:
    """What has been sent and not been processed, with the commands."""
    return [
        (name, [str(change.command) for change in message.changes])
        for name, switch in world.switches.items()
        for message in switch.inbox
        if isinstance(message, SendRules)
    ]


def with_flow(world: World, mag: IPv6Address = MAG1) -> None:
    settle(
        world,
        Attach(id=2, path=default(HOME, MAG1)),
        AddFlow(id=3, flow=flow(7, HOME, 80), path=path(7, mag)),
    )
