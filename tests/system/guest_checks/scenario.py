"""A testbed whose course a check decides, with every packet of its links on record."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import msgspec

from experiments.captures.pcapng import PcapngWriter
from experiments.declaration.job import Job
from experiments.emulation.roles import MN_ID
from experiments.emulation.testbed import Testbed, bind_flows, end, testbed
from experiments.emulation.traffic import (
    SO_RCVBUFFORCE,
    flow_ids,
    run_start,
    send_udp,
    sleep_until,
    udp_streams,
)
from nodes.control_client import Session
from nodes.strict import from_json
from topologies.namespaces import Child, fork_into, socket_in
from topologies.network import DirectionName, Network

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
PACKET_STATISTICS = 6
SOL_PACKET = 263
SO_TIMESTAMPNS = 35
BUFFER_BYTES = 4 << 20
NANOSECONDS = 1_000_000_000
LEAD_S = 0.5
# Where packets are recorded: node, interface.
LINKS = (
    ("cn", "cn-lma"),
    ("lma", "lma-core"),
    ("core", "core-mag1"),
    ("core", "core-mag2"),
    ("mn", "mn-wlan"),
    ("mn", "mn-cell"),
)


class Sniffer:
    """Keeps what passes an interface in a socket's buffer, until it is written to a file."""

    def __init__(self, network: Network, node: str, interface: str) -> None:
        self.interface = interface
        self._socket = socket_in(
            network.namespace(node), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        )
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((interface, ETH_P_ALL))

    def _packets(self) -> Iterator[tuple[int, bytes, bool]]:
        while True:
            try:
                data, ancillary, _, sender = self._socket.recvmsg(65_536, 128)
            except BlockingIOError:
                return
            except OSError as error:  # the interface was down, and it may be up again
                if error.errno != errno.ENETDOWN:
                    raise
                continue
            stamps = [value for _, kind, value in ancillary if kind == SO_TIMESTAMPNS]
            seconds, nanoseconds = struct.unpack("=qq", stamps[0])
            yield seconds * NANOSECONDS + nanoseconds, data, sender[2] == PACKET_OUTGOING

    def write(self, folder: Path) -> None:
        packets = sorted(self._packets())
        counts = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        _, drops = struct.unpack("=II", counts)
        assert not drops, f"{self.interface}: {drops} packets did not fit into the buffer"
        with (folder / f"{self.interface}.pcapng").open("wb") as file:
            writer = PcapngWriter(file, [self.interface])
            for instant, data, outbound in packets:
                writer.packet(0, instant, data, len(data), outbound)

    def close(self) -> None:
        self._socket.close()


class Scenario:
    """`start_ns` is second 0 on CLOCK_MONOTONIC, `unix_ns` the same instant of the epoch."""

    def __init__(self, job: Job, bed: Testbed, session: Session, folder: Path, state: Path) -> None:
        self.job, self.bed, self.session = job, bed, session
        self.state = state
        self.network = bed.network
        self.addresses: dict[str, IPv6Address] = {}
        self._logs = folder / "logs"
        self._children: list[Child] = []
        self.start_ns = run_start(LEAD_S)
        self.unix_ns = self.start_ns + time.time_ns() - time.monotonic_ns()

    def until(self, at_s: float) -> None:
        """Sleep until `at_s` of the run."""
        sleep_until(self.start_ns + round(at_s * NANOSECONDS))

    def attach(self) -> None:
        """Attach all accesses when the job says, and a second later add the flows."""
        for entry in sorted(self.job.spec.attachments, key=lambda entry: entry.at_s):
            self.until(entry.at_s)
            self.network.set_access(entry.access, True)
        self.until(max(entry.at_s for entry in self.job.spec.attachments) + 1.0)
        self.addresses = bind_flows(self.job.spec, self.session)

    def start_traffic(self) -> None:
        """Both directions of every UDP flow."""
        for node in ("cn", "mn"):
            streams = udp_streams(self.job.spec, "cn" if node == "cn" else "mn", self.addresses)
            child = fork_into(
                self.network.namespace(node),
                send_udp,
                streams,
                self.start_ns,
                log=self._logs / f"udp-{node}.txt",
            )
            self._children.append(child)

    def order(self, flow: str, to: str, **arguments: Any) -> None:
        """Order a move; `answers` has the reply."""
        fid = flow_ids(self.job.spec)[flow]
        self.session.send({"op": "move-flow", "mn": MN_ID, "fid": fid, "to": to, **arguments})

    def ask_node(self, node: str, request: dict[str, Any]) -> dict[str, Any]:
        """One request to the control socket of a MAG or the MN, and its reply."""
        with Session(self.state / f"{node}.sock") as session:
            return session.request(request)

    def answers(self, count: int) -> list[dict[str, Any]]:
        return list(self.session.replies(count))

    def ask(self, what: str) -> Any:
        """The LMA's `bindings` or `flows`."""
        return self.session.request({"op": what})["result"]

    def lose(self, link: str, direction: DirectionName, share: float) -> None:
        """From now on `link` loses this share of its packets."""
        present = self.network.direction(link, direction)
        self.network.change_link(link, direction, msgspec.structs.replace(present, loss=share))

    def stop_traffic(self) -> None:
        end(self._children)


@contextlib.contextmanager
def scenario(folder: Path, links: Sequence[tuple[str, str]] = LINKS) -> Iterator[Scenario]:
    """The testbed of FOLDER/job.json; captures of `links` are in FOLDER/wire when the block is
    left."""
    job = from_json((folder / "job.json").read_bytes(), Job, "job.json")
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bed = stack.enter_context(testbed(job.spec, job.seed, folder, state / "control.sock"))
        sniffers = [Sniffer(bed.network, node, interface) for node, interface in links]
        for sniffer in sniffers:
            stack.callback(sniffer.close)
        session = stack.enter_context(Session(state / "control.sock"))
        course = Scenario(job, bed, session, folder, state)
        stack.callback(course.stop_traffic)
        yield course
        assert not bed.ended(), f"ended during the run: {bed.ended()}"
        wire = folder / "wire"
        wire.mkdir()
        for sniffer in sniffers:
            sniffer.write(wire)
