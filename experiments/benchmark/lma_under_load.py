"""The LMA's daemon in a process of its own, and two that answer without doing anything: what
sockets, codec and JSON cost alone, to compare with."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.benchmark.bed import LMA, POOL, Bed
from nodes.config import Access, LmaConfig, MobileNodePolicy
from nodes.daemons import run_lma
from nodes.kernel.sockets import MobilitySocket
from nodes.wire.codec import decode, encode
from nodes.wire.messages import AccessTechnology, ProxyBindingAcknowledgement, ProxyBindingUpdate
from topologies.namespaces import Child, fork_into

START_TIMEOUT_S, END_TIMEOUT_S = 60.0, 30.0
WLAN, CELL = int(AccessTechnology.IEEE_802_11), int(AccessTechnology.EUTRAN)
CONTROL = "control.sock"


class Served(NamedTuple):
    child: Child
    folder: Path

    @property
    def control(self) -> Path:
        return self.folder / CONTROL

    def cpu_s(self) -> float:
        """Processor time that it has taken."""
        stat = Path(f"/proc/{self.child.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def mn_id(number: int) -> str:
    return f"mn{number}@flowmob.example"


def lma_config(
    bed: Bed, folder: Path, mns: int, policy: MobileNodePolicy, most_waiting: int = 8_192
) -> LmaConfig:
    return LmaConfig(
        events=folder / "lma.jsonl",
        control_socket=folder / CONTROL,
        address=LMA,
        prefix_pool=POOL,
        mobile_nodes={mn_id(number): policy for number in range(mns)},
        accesses={"wlan": Access(WLAN, 10), "cell": Access(CELL, 20)},
        authorized_mags=bed.mags,
        max_waiting_messages=most_waiting,
    )


@contextlib.contextmanager
def serving(
    bed: Bed, folder: Path, function: Callable[[Callable[[], None]], None]
) -> Iterator[Served]:
    """`function(ready)` in the LMA's namespace, for the time of the block."""
    reader, writer = os.pipe()

    def ready() -> None:
        os.write(writer, b"!")

    child = fork_into(bed.lma, function, ready, log=folder / "lma.log", name="lma")
    try:
        if not select.select([reader, child.pidfd], [], [], START_TIMEOUT_S)[0]:
            raise TimeoutError("the LMA doesn't start")
        yield Served(child, folder)
        child.terminate()
        status = child.wait(END_TIMEOUT_S)
        if status not in (0, -signal.SIGTERM):
            raise RuntimeError(f"lma: status {status}\n{(folder / 'lma.log').read_text()}")
    except BaseException:
        print((folder / "lma.log").read_text(encoding="utf-8", errors="replace"))
        child.kill()
        raise
    finally:
        os.close(reader)
        os.close(writer)


def serve_lma(config: LmaConfig) -> Callable[[Callable[[], None]], None]:
    return lambda ready: run_lma(config, "lma", ready)


def answer_registrations(ready: Callable[[], None]) -> None:
    """Accepts whatever comes, and remembers nothing."""
    mobility = MobilitySocket(LMA)
    ready()
    while True:
        select.select([mobility], [], [])
        while (received := mobility.receive()) is not None:
            message = decode(received.data, received.source, received.destination)
            assert isinstance(message, ProxyBindingUpdate)
            answer = ProxyBindingAcknowledgement(
                0, message.sequence, message.lifetime, message.options, proxy_registration=True
            )
            mobility.send(encode(answer, LMA, received.source), received.source)


def answer_requests(folder: Path) -> Callable[[Callable[[], None]], None]:
    """A control socket that says yes to each line."""

    def serve(ready: Callable[[], None]) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(folder / CONTROL))
        listening.listen()
        ready()
        accepted, _ = listening.accept()
        lines = accepted.makefile("rb")
        for line in lines:
            answer = {"ok": True, "result": None, "id": json.loads(line)["id"]}
            accepted.sendall(json.dumps(answer).encode() + b"\n")
        while True:
            time.sleep(END_TIMEOUT_S)  # until it is ended

    return serve
