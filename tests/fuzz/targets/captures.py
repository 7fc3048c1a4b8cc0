"""What is captured in runs, and what others have captured."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from io import BytesIO

import numpy as np

from experiments.analysis.controller_messages import read_controller_messages
from experiments.analysis.packets import extract
from experiments.analysis.quic_packets import Secrets, open_packets, read_secrets
from experiments.analysis.signalling import read_signalling
from experiments.captures.frames import Frames, read_frames
from experiments.captures.pcapng import PcapngError, PcapngWriter, packets_of
from experiments.declaration.experiment import TOPOLOGIES
from experiments.declaration.spec import RunSpec
from nodes.strict import load_toml
from nodes.wire.capture import CaptureError, read_messages
from nodes.wire.codec import encode
from nodes.wire.messages import UpdateNotification
from nodes.wire.tool import decode_capture
from tests.experiments.synthetic import (
    CN,
    INTERFACES,
    LMA,
    MN,
    PROXY_COA,
    START_NS,
    UDP,
    ethernet,
    ipv6,
    run_spec,
    tcp,
    udp,
)
from tests.fuzz.target import Target, file_with
from tests.fuzz.targets.wire import LMA as LMA_ADDRESS
from tests.fuzz.targets.wire import MAG as MAG_ADDRESS
from topologies.model import Topology

SECRETS = Secrets(bytes(range(32)), bytes(range(32, 64)))
DOWNLOAD = {"anchor": "wlan", "start": "wlan"}


def captured(data: bytes) -> None:
    for found in read_messages(file_with(data)):
        assert len(found.data) <= len(data)


def decoded(data: bytes) -> None:
    """`flowmob decode` of a file says what is wrong with it, and nothing else."""
    for value in decode_capture(file_with(data), on_error=lambda _where, error: str(error)):
        assert "message" in value


def pcapng(data: bytes) -> None:
    """Both readers see the same packets, unless one says that it can't."""
    one = [(packet.interface, packet.data, packet.outbound) for packet in packets_of(data)]
    names, frames = read_frames(data)
    ends = frames.start + frames.captured
    two = [
        (names[interface], data[start:end], outbound)
        for interface, start, end, outbound in zip(
            frames.interface.tolist(),
            frames.start.tolist(),
            ends.tolist(),
            frames.outbound.tolist(),
            strict=True,
        )
    ]
    assert one == two


def signalling(data: bytes) -> None:
    read_signalling(data, START_NS)


def controller(data: bytes) -> None:
    read_controller_messages(data, _switched(), START_NS)


@cache
def _switched() -> Topology:
    return load_toml(TOPOLOGIES / "sdn.toml", Topology)


@cache
def _spec() -> RunSpec:
    return run_spec(
        flows={
            "a": UDP | {"anchor": "wlan", "start": "wlan", "port": 5001},
            "t": {"kind": "tcp", "port": 5002, "from_s": 1.0, "until_s": 2.0} | DOWNLOAD,
            "m": {"kind": "mptcp", "port": 5003, "from_s": 1.0, "until_s": 2.0} | DOWNLOAD,
            "q": {"kind": "quic", "port": 5004, "from_s": 1.0, "until_s": 2.0} | DOWNLOAD,
        },
        moves=[],
    )


def _capture(frames: list[tuple[int, bool, bytes]]) -> bytes:
    file = BytesIO()
    writer = PcapngWriter(file, INTERFACES)
    for number, (interface, outbound, data) in enumerate(frames):
        writer.packet(interface, START_NS + number * 1_000_000, data, len(data), outbound)
    return file.getvalue()


def test_packets(data: bytes) -> None:
    """Frames of a run, each behind an octet that says where it was seen, and one for its length."""
    frames = []
    while len(data) > 1:
        place, octets = data[0], data[1]
        frames.append((place & 3, place & 4 != 0, data[2 : 2 + octets]))
        data = data[2 + octets :]
    table = extract(_capture(frames), _spec(), START_NS, secrets={"q": SECRETS})
    assert len(table) <= 2 * len(frames)


def quic(data: bytes) -> None:
    """One packet of a known connection, at several places."""
    head = ethernet(ipv6(17, CN, MN, data))
    octets = np.frombuffer(head, dtype=np.uint8)
    one = np.zeros(1, dtype=np.int64)
    frames = Frames(octets, one, one + len(head), one, one, one.astype(np.bool_))
    opened = open_packets(frames, one + 14, SECRETS.client)
    assert len(opened.number) == 1


def key_log(data: bytes) -> None:
    read_secrets(data.decode("ascii"))


def _files() -> Iterator[bytes]:
    upn = encode(UpdateNotification(7, 1, (), True), MAG_ADDRESS, LMA_ADDRESS)
    frame = ethernet(ipv6(135, MAG_ADDRESS.packed, LMA_ADDRESS.packed, upn))
    tunnel = ethernet(ipv6(41, LMA, PROXY_COA["wlan"], frame[14:]))
    attachment = bytes(12) + b"\x88\xb5" + bytes.fromhex("a100010000000001000000000000")
    for some in ([frame], [frame, tunnel], [attachment]):
        yield _capture([(1, False, one) for one in some])
        file = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
        for one in some:
            file += struct.pack("<IIII", 1, 2, len(one), len(one)) + one
        yield file


def _packets() -> Iterator[bytes]:
    down = ipv6(17, CN, MN, udp(5001, 0, 1, 20))
    through = ipv6(41, LMA, PROXY_COA["wlan"], down)
    seen = []
    for place, packet in ((4, down), (5, through), (2, down)):
        frame = ethernet(packet)
        seen.append(bytes((place, len(frame))) + frame)
    yield b"".join(seen)
    for port in (5002, 5003):
        frame = ethernet(ipv6(6, CN, MN, tcp(port, True, 7, 40, 9)))
        yield b"".join(bytes((place, len(frame))) + frame for place in (4, 5, 2))
    frame = ethernet(ipv6(17, CN, MN, udp(5004, 0, 1, 120)))
    yield b"".join(bytes((place, len(frame))) + frame for place in (4, 2))


def _quic() -> Iterator[bytes]:
    yield struct.pack("!HHHH", 5004, 5004, 60, 0) + b"\x40" + bytes(range(60))


def _key_logs() -> Iterator[bytes]:
    yield b"\n".join(
        f"{end}_TRAFFIC_SECRET_0 {'00' * 32} {'11' * 32}".encode() for end in ("CLIENT", "SERVER")
    )


def _control() -> Iterator[bytes]:
    yield from _files()
    names = [
        link.interface(end)
        for link in _switched().links.values()
        for end in link.ends
        if end == "controller"
    ]
    file = BytesIO()
    writer = PcapngWriter(file, names)
    openflow = struct.pack("!BBHI", 4, 20, 8, 1)
    line = b'{"op":"remove-flow","id":1,"key":1}\n'
    for number, _ in enumerate(names):
        for outbound, octets in ((True, openflow), (False, line)):
            head = struct.pack("!HHIIBBHHH", 6653, 40000, 1, 1, 5 << 4, 0x10, 0, 0, 0)
            frame = ethernet(ipv6(6, CN, MN, head + octets))
            writer.packet(number, START_NS, frame, len(frame), outbound)
    yield file.getvalue()


TARGETS = {
    "capture-files": Target(captured, (CaptureError,), 1024, _files),
    "capture-decoding": Target(decoded, (), 1024, _files),
    "pcapng": Target(pcapng, (PcapngError,), 1024, _files),
    "run-signalling": Target(signalling, (PcapngError,), 1024, _files),
    "controller-messages": Target(controller, (PcapngError,), 2048, _control),
    "test-packets": Target(test_packets, (PcapngError,), 1024, _packets),
    "quic-packets": Target(quic, (), 256, _quic),
    "quic-key-log": Target(key_log, (ValueError,), 512, _key_logs),
}
