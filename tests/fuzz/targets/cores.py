"""The state machines: any messages, from anybody, in any order. What comes from a peer that is
authorized may change what is known; nothing may break a node, or have it ask its kernel for what
the kernel refuses (`tests.domain.Forwarding`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from nodes.wire.attachment import encode_attachment
from nodes.wire.codec import decode_without_addresses, encode_without_addresses
from nodes.wire.errors import MalformedMessage
from tests.domain import LMA
from tests.fuzz.seeds import examples
from tests.fuzz.target import Target
from tests.hostile import MESSAGES
from tests.messages import attachment_strategy
from tests.nodes.test_invariants import settled
from tests.sequences import STRANGER
from tests.world import World
from tests.world_plan import MAGS, PORTS, Plan

NAMES = ("lma", *MAGS)
SOURCES = (*MAGS.values(), LMA, STRANGER)
PORT_NAMES = tuple(PORTS)
MESSAGE, FRAME, UP, DOWN, TIME, LINK = range(6)


def course(data: bytes) -> None:
    """Each event is a head of four octets (kind, who, from whom, length in units of 8 octets) and
    what it carries. The first octet chooses how nodes attach."""
    world = settled(Plan(layer_2=data[:1] == b"\1"))
    data = data[1:]
    while len(data) >= 4:
        kind, who, source, units = data[:4]
        body, data = data[4 : 4 + 8 * units], data[4 + 8 * units :]
        _event(world, kind % 6, who, source, body)
    world.run(30)


def _event(world: World, kind: int, who: int, source: int, body: bytes) -> None:
    port = PORT_NAMES[who % len(PORT_NAMES)]
    if kind == MESSAGE:
        with suppress(MalformedMessage):
            message = decode_without_addresses(body)
            world.deliver(NAMES[who % len(NAMES)], message, SOURCES[source % len(SOURCES)])
    elif kind == FRAME:
        sender = PORTS[port].mn_id if source % 2 else world.links.get(port, "")
        world.frame(sender, port, body)
    elif kind in (UP, DOWN):
        world.discovery(port, body, up=kind == UP)
    elif kind == TIME:
        world.run(source / 10)
    elif port in world.links and source % 2:
        world.disconnect(port)
    else:
        world.connect(port, tuple(MAGS)[source % len(MAGS)])


def _head(kind: int, who: int, source: int, body: bytes = b"") -> bytes:
    return bytes((kind, who, source, len(body) // 8)) + body


def _courses() -> Iterator[bytes]:
    found = [encode_without_addresses(message) for message in examples(MESSAGES, 120)]
    for number in range(0, len(found) - 3, 3):
        yield b"\0" + b"".join(
            _head(MESSAGE, number + n, number // 4 + n, body)
            for n, body in enumerate(found[number : number + 3])
        )
    frames = [encode_attachment(message) for message in examples(attachment_strategy(), 20)]
    yield from (b"\1" + _head(FRAME, n, n, frame) for n, frame in enumerate(frames))
    yield b"\0" + _head(LINK, 1, 2) + _head(TIME, 0, 20) + _head(LINK, 1, 1) + _head(TIME, 0, 99)


TARGETS = {"message-sequences": Target(course, (), 1024, _courses)}
