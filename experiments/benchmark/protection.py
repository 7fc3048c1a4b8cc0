"""What IPsec for the signalling costs the kernels of LMA and MAG: for each message, and for each
packet of users, which the policies are not for but are looked up for."""

from __future__ import annotations

import select
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from experiments.benchmark.bed import LMA, POOL, Bed, bed
from experiments.benchmark.forwarding import BURST, Flow, Sender, install
from nodes.actions import OpenTunnel, RoutePrefix
from nodes.ipsec.config import Ipsec
from nodes.ipsec.security_associations import SecurityAssociation, write_keys
from nodes.kernel.lma_forwarding import LmaForwarding
from nodes.kernel.signalling_protection import protect_signalling
from nodes.kernel.sockets import MobilitySocket
from nodes.wire.mobility_header import NO_NEXT_HEADER
from nodes.wire.values import MobilityHeaderType
from topologies.namespaces import inside

MAGS = 10
# Octets of the Mobility Header: about those of a Proxy Binding Update, and the longest that a line
# of 1,500 octets carries in ESP.
SIZES = (88, 1_408)
ROUNDS, MESSAGES, LIMIT_S = 200, 64, 1.0
COUNTED = ROUNDS // 8


def protection() -> dict[str, Any]:
    """Without and with protection: time of a message (us), from the MAG's call to the LMA's, by
    octets; and packets a second of a flow. `arrived`: messages, of `sent`."""
    with bed(MAGS) as found, tempfile.TemporaryDirectory() as folder, inside(found.lma):
        lma = LmaForwarding(LMA)
        try:
            for mag in found.mags:
                lma.perform(OpenTunnel(mag))
            (prefix,) = islice(POOL.subnets(new_prefix=64), 1)
            lma.perform(RoutePrefix(prefix, found.mags[0]))
            flow = Flow.number(0, [prefix])
            install(lma, [flow], found.mags[0])
            plain = _measure(found, flow)
            _protect(found, Path(folder))
            return {"none": plain, "esp": _measure(found, flow)}
        finally:
            lma.close()


def _protect(found: Bed, folder: Path) -> None:
    """The LMA, and all MAGs, which are in one namespace."""
    ends = [(one, LMA) for one in found.mags] + [(LMA, one) for one in found.mags]
    associations = [
        SecurityAssociation(source, destination, 256 + number, bytes([number]) * 36)
        for number, (source, destination) in enumerate(ends)
    ]
    write_keys(folder / "keys", associations)
    config = Ipsec(security_associations=folder / "keys")
    with inside(found.lma):
        protect_signalling(config, "lma", [LMA], found.mags)
    with inside(found.access):
        protect_signalling(config, "mag", found.mags, [LMA])


def _measure(found: Bed, flow: Flow) -> dict[str, Any]:
    with inside(found.lma):
        receiver = MobilitySocket(LMA)
    with inside(found.access):
        sender = MobilitySocket(found.mags[0])
    with inside(found.cn):
        users = Sender()
    counts = [0, 0]

    def exchange(data: bytes) -> None:
        sender.send(data, LMA)
        counts[0] += 1
        select.select([receiver], [], [], LIMIT_S)
        counts[1] += receiver.receive() is not None

    try:
        took = {}
        for size in SIZES:
            # A heartbeat and nothing; the kernels look at no more than the type.
            data = bytes((NO_NEXT_HEADER, size // 8 - 1, MobilityHeaderType.HEARTBEAT))
            data = data.ljust(size, b"\0")
            took[str(size)] = 1e6 * _time(partial(exchange, data))
        burst = users.burst([flow] * BURST)
        rate = users.rate(lambda: users.send(burst))
        return {"message_us": took, "packets": rate, "sent": counts[0], "arrived": counts[1]}
    finally:
        for used in (sender, receiver):
            used.close()
        users.close()


def _time(work: Callable[[], None]) -> float:
    """In s: that of the slowest of the rounds that count (`forwarding`)."""
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(MESSAGES):
            work()
        took.append(time.perf_counter() - started)
    return sorted(took)[COUNTED] / MESSAGES
