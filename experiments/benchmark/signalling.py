"""What an LMA under load does in a second: registrations, moves with FMI and FMA, requests.

The LMA is the daemon with its sockets, its kernel state and its events. At the other end is one
process with the sockets of all MAGs that keeps some requests under way, and no kernel state.
"""

from __future__ import annotations

import select
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from experiments.benchmark.bed import CN, LMA, Bed, bed, memory
from experiments.benchmark.lma_under_load import (
    CELL,
    WLAN,
    Served,
    answer_registrations,
    answer_requests,
    lma_config,
    mn_id,
    serve_lma,
    serving,
)
from nodes.config import ANY_PREFIX, MobileNodePolicy
from nodes.control_client import Session
from nodes.kernel.sockets import MobilitySocket
from nodes.wire.codec import decode, encode
from nodes.wire.messages import (
    HandoffHint,
    Message,
    ProxyBindingAcknowledgement,
    ProxyBindingStatus,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationStatus,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)
from topologies.namespaces import inside

WINDOW = 32
ANSWER_TIMEOUT_S = 10.0
LIFETIME = 900  # units of 4 s
MAGS = 10


class Mags:
    """The sockets of all MAGs, which are made in their namespace."""

    def __init__(self, addresses: Sequence[IPv6Address]) -> None:
        self._sockets = {address: MobilitySocket(address) for address in addresses}
        self._poll = select.poll()
        self._by_descriptor: dict[int, MobilitySocket] = {}
        # By number of the mobile node and access technology.
        self.prefixes: dict[tuple[int, int], IPv6Network] = {}
        for one in self._sockets.values():
            self._poll.register(one, select.POLLIN)
            self._by_descriptor[one.fileno()] = one

    def send(self, message: Message, mag: IPv6Address) -> None:
        self._sockets[mag].send(encode(message, mag, LMA), LMA)

    def receive(self, timeout_s: float = ANSWER_TIMEOUT_S) -> Iterator[tuple[IPv6Address, Message]]:
        """What has come, or comes first. Raises TimeoutError."""
        ready = self._poll.poll(1000 * timeout_s)
        if not ready:
            raise TimeoutError(f"nothing came for {timeout_s} s")
        for descriptor, _ in ready:
            one = self._by_descriptor[descriptor]
            while (received := one.receive()) is not None:
                yield one.address, decode(received.data, received.source, received.destination)

    def close(self) -> None:
        for one in self._sockets.values():
            one.close()


def request(number: int, sequence: int, technology: int = WLAN) -> ProxyBindingUpdate:
    """For the mobile node with this number."""
    options = (
        MobileNodeIdentifier.of(mn_id(number)),
        HomeNetworkPrefix.of(ANY_PREFIX),
        HandoffIndicator(HandoffHint.NEW_INTERFACE),
        AccessTechnologyType(technology),
        Timestamp.of_unix_ns(time.time_ns()),
        MobileNodeLinkLayerIdentifier(bytes([2, technology]) + number.to_bytes(4, "big")),
    )
    return ProxyBindingUpdate(
        sequence, LIFETIME, options, acknowledge=True, proxy_registration=True
    )


def register(mags: Mags, bed: Bed, numbers: Sequence[int], technology: int = WLAN) -> float:
    """Register these mobile nodes, each at a MAG; returns the time (s). Raises RuntimeError if one
    is refused, or answered twice."""
    started = time.perf_counter()
    waiting: set[int] = set()
    left = iter(numbers)
    going_on = True
    while going_on or waiting:
        while going_on and len(waiting) < WINDOW:
            number = next(left, None)
            if number is None:
                going_on = False
                break
            waiting.add(number & 0xFFFF)
            mags.send(
                request(number, number & 0xFFFF, technology), _mag_of(bed, number, technology)
            )
        if not waiting:
            break
        for _, message in mags.receive():
            if not isinstance(message, ProxyBindingAcknowledgement):
                continue
            if message.status == ProxyBindingStatus.TIMESTAMP_MISMATCH:
                # This process had to wait for long between making the request and sending it.
                again = next(n for n in numbers if n & 0xFFFF == message.sequence)
                mag = _mag_of(bed, again, technology)
                mags.send(request(again, message.sequence, technology), mag)
                continue
            if not message.accepted or message.sequence not in waiting:
                raise RuntimeError(f"answered twice, or refused: {message}")
            waiting.remove(message.sequence)
            (prefix,) = message.all_options(HomeNetworkPrefix)
            mags.prefixes[message.sequence, technology] = prefix.prefix
    return time.perf_counter() - started


def _mag_of(bed: Bed, number: int, technology: int) -> IPv6Address:
    return bed.mags[(number + (technology == CELL)) % len(bed.mags)]


def signalling(mns: int, moving: int, requests: int) -> dict[str, Any]:
    """With `mns` mobile nodes, of which `moving` have two accesses and a flow: rates per second,
    the LMA's processor time for each (ms), and memory a binding (octets)."""
    report: dict[str, Any] = {}
    with bed(MAGS) as found, tempfile.TemporaryDirectory() as name:
        with inside(found.access):
            mags = Mags(found.mags)
        numbers = range(mns)
        folder = Path(name, "echo")
        folder.mkdir()
        with serving(found, folder, answer_registrations):
            register(mags, found, numbers[:WINDOW])
            report["echoed"] = mns / register(mags, found, numbers)
        with serving(found, folder, answer_requests(folder)), Session(folder / "control.sock") as s:
            report["echoed_requests"] = requests / _ask(s, [{"op": "controller"}] * requests)
        folder = Path(name, "lma")
        folder.mkdir()
        config = lma_config(found, folder, mns, MobileNodePolicy(withdrawal_delay_ms=600_000))
        with serving(found, folder, serve_lma(config)) as lma, Session(lma.control) as session:
            register(mags, found, numbers[:MAGS])  # the tunnels
            before = memory(lma.child.pid)
            report["registrations"] = _rated(
                lma, mns - MAGS, lambda: register(mags, found, numbers[MAGS:])
            )
            used = memory(lma.child.pid).since(before)
            report["binding_octets"] = used.own / (mns - MAGS)
            report["binding_kernel_octets"] = used.kernel / (mns - MAGS)
            report["renewals"] = _rated(lma, mns, lambda: register(mags, found, numbers))
            report["requests"] = _rated(
                lma, requests, lambda: _ask(session, [{"op": "controller"}] * requests)
            )
            register(mags, found, numbers[:moving], CELL)
            report["flows"] = _rated(
                lma, moving, lambda: _ask(session, [_flow(mags, n) for n in numbers[:moving]])
            )
            there, back = ([_move(n, to) for n in numbers[:moving]] for to in ("cell", "wlan"))
            report["moves"] = _rated(lma, moving, lambda: _ask(session, there, mags))
            report["local_moves"] = _rated(lma, moving, lambda: _ask(session, back))
        mags.close()
    return report


def _rated(lma: Served, count: int, work: Callable[[], float]) -> dict[str, float]:
    before = lma.cpu_s()
    took = work()
    return {"rate": count / took, "cpu_ms": 1000 * (lma.cpu_s() - before) / count}


def _flow(mags: Mags, number: int) -> dict[str, Any]:
    selector = {
        "start_source_address": str(CN),
        "start_destination_address": str(mags.prefixes[number, WLAN][1]),
        "start_source_port": 4000,
        "start_destination_port": 5000,
        "start_next_header": 17,
    }
    return {
        "op": "add-flow",
        "mn": mn_id(number),
        "fid": 1,
        "priority": 1,
        "selector": selector,
        "to": "wlan",
    }


def _move(number: int, to: str) -> dict[str, Any]:
    return {"op": "move-flow", "mn": mn_id(number), "fid": 1, "to": to}


def _ask(session: Session, requests: Sequence[dict[str, Any]], mags: Mags | None = None) -> float:
    """Have requests carried out, some under way at a time, the MAGs answering what comes to them;
    returns the time (s)."""
    started = time.perf_counter()
    sent = answered = 0
    for number in range(len(requests)):
        while sent < min(len(requests), number + WINDOW):
            session.send(requests[sent])
            sent += 1
        while mags is not None and answered <= number:
            answered += _acknowledge(mags)
        (reply,) = session.replies(1)
        if not reply.get("ok") and requests[number]["op"] != "controller":
            raise RuntimeError(f"{requests[number]}: {reply}")
    return time.perf_counter() - started


def _acknowledge(mags: Mags) -> int:
    """The FMIs that are there, one at least; returns their number."""
    count = 0
    while not count:
        for mag, message in mags.receive():
            if isinstance(message, UpdateNotification):
                answer = UpdateNotificationAcknowledgement(
                    message.sequence, UpdateNotificationStatus.SUCCESS, message.options
                )
                mags.send(answer, mag)
                count += 1
    return count
