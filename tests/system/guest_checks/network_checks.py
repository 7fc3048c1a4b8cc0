"""Checks of the network, its captures and its traffic, for the guest in virtual time."""

from __future__ import annotations

import msgspec

from experiments.captures.capture import CaptureOverflow
from tests.system.guest_checks.support import NANOSECONDS, reference, trial, udp_spec
from topologies.model import Direction, Topology

MICROSECOND = 1000
FRAME_BYTES = 14 + 40 + 8 + 172


def check_delays() -> None:
    """CN to MN and back takes the sum of the links' delays and serialisation times."""
    topology = reference()
    result = trial(udp_spec(topology))
    links = [topology.links[name] for name in ("cn-lma", "lma-core", "core-mag1", "wlan")]
    for sender, receiver, directions in (
        ("cn-lma", "mn-wlan", [link.downlink for link in links]),
        ("mn-wlan", "cn-lma", [link.uplink for link in links]),
    ):
        expected = sum(d.one_way_ms(FRAME_BYTES) for d in directions)
        sent = result.sightings(sender, outbound=True)
        received = result.sightings(receiver, outbound=False)
        assert len(sent) == 100, len(sent)
        assert sent.keys() == received.keys()
        for key, (instant,) in sent.items():
            delay_ms = (received[key][0] - instant) / 1e6
            assert abs(delay_ms - expected) < 0.005, (key, delay_ms, expected)


def check_send_instants() -> None:
    """Packets leave within 20 us after their instant, and never before it."""
    result = trial(udp_spec(reference(), flows=3))
    for interface, offsets in (("cn-lma", (0, 6, 13)), ("mn-wlan", (3, 10, 16))):
        for (fid, sequence), (instant,) in result.sightings(interface, outbound=True).items():
            wanted = 3 * NANOSECONDS + (offsets[fid - 1] + 20 * sequence) * 1000 * MICROSECOND
            assert 0 <= instant - wanted < 20 * MICROSECOND, (fid, sequence, instant - wanted)


def check_in_place_change() -> None:
    """A change of delay holds for packets sent after it; those in flight keep their time."""
    from experiments.emulation.traffic import sleep_until

    def slower(network, start_ns: int) -> None:  # type: ignore[no-untyped-def]
        # 2.5 ms after a packet has left the CN: it is in flight on the 5 ms link.
        sleep_until(start_ns + 4 * NANOSECONDS + 2_500 * MICROSECOND)
        network.change_link("cn-lma", "down", Direction(delay_ms=50.0, rate_mbit=1000.0))

    result = trial(udp_spec(reference()), during=slower)
    sent = result.sightings("cn-lma", outbound=True)
    received = result.sightings("mn-wlan", outbound=False)
    assert sent.keys() == received.keys()
    for key, (instant,) in sent.items():
        base = 17.0 if instant < 4 * NANOSECONDS + 2_500 * MICROSECOND else 62.0
        delay_ms = (received[key][0] - instant) / 1e6
        assert base < delay_ms < base + 0.1, (key, delay_ms)


def _with_loss(topology: Topology, loss: float) -> Topology:
    link = msgspec.structs.replace(topology.links["core-mag1"], loss=loss)
    return msgspec.structs.replace(topology, links=topology.links | {"core-mag1": link})


def _lost(seed: int) -> list[tuple[int, int]]:
    result = trial(udp_spec(_with_loss(reference(), 0.2), until_s=8.0), seed=seed)
    sent = result.sightings("cn-lma", outbound=True)
    received = result.sightings("mn-wlan", outbound=False)
    return sorted(sent.keys() - received.keys())


def check_loss_seeded() -> None:
    """The same seed loses the same packets, another seed others."""
    first, again, other = _lost(1), _lost(1), _lost(2)
    assert 30 < len(first) < 70, len(first)
    assert first == again, (first, again)
    assert first != other


def check_removed() -> None:
    """Stopping twice is harmless and leaves no descriptor and no interface behind."""
    import socket
    from pathlib import Path

    from topologies.network import build

    before = (len(list(Path("/proc/self/fd").iterdir())), socket.if_nameindex())
    network = build(reference(), 1)
    network.stop()
    network.stop()
    assert (len(list(Path("/proc/self/fd").iterdir())), socket.if_nameindex()) == before


def check_side_by_side() -> None:
    """Two networks of the same topology exist at once."""
    from topologies.network import running

    with running(reference(), 1) as first, running(reference(), 1) as second:
        first.set_access("wlan", True)
        assert second.namespace("mn") != first.namespace("mn")


def check_overflow() -> None:
    """A ring that was too small is an error that names interface and size."""
    import experiments.captures.capture as module

    frames = module.ring_frames
    module.ring_frames = lambda _expected, frame_bytes: 65536 // frame_bytes
    try:
        trial(udp_spec(reference(), flows=3))
    except CaptureOverflow as error:
        assert "256 frames" in str(error), error
    else:
        raise AssertionError("no overflow")
    finally:
        module.ring_frames = frames
