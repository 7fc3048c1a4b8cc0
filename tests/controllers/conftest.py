"""Worlds that tests of the redirection begin with."""

from __future__ import annotations

import pytest

from nodes.northbound import (
    AddFlow,
    Reply,
    Sync,
)
from tests.controllers.fabrics import HOME, MAG1, description
from tests.controllers.model import World, default, flow, path
from tests.controllers.orders import settle


@pytest.fixture
def world() -> World:
    """All switches ready, the LMA has said that there is nothing."""
    world = World(description())
    world.core.connected(1)
    world.connect()
    world.deliver()
    world.request(Sync(id=1, epoch=1, mode="sdn-core"))
    assert world.replies == [(1, Reply(id=1, ok=True, result={"lost": []}))]
    world.replies.clear()
    return world


@pytest.fixture
def assisted(world: World) -> World:
    settle(world, Sync(id=2, epoch=1, mode="sdn-assisted", prefixes=(default(HOME, MAG1),)))
    added = AddFlow(id=3, flow=flow(7, HOME, 80), path=path(7, MAG1, anchor=MAG1))
    settle(world, added)
    return world
