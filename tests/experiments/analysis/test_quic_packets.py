"""Stream data in packets of QUIC, from a connection whose ends are both here."""

from __future__ import annotations

import struct
from io import BytesIO, StringIO
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from aioquic.quic.connection import QuicConnection

from experiments.analysis import quic_packets
from experiments.analysis.quic_packets import (
    identify_quic,
    open_packets,
    read_secrets,
    secrets_of_run,
)
from experiments.analysis.segments import DOWN, UP, Segments
from experiments.captures.frames import ETHERNET_BYTES, Booleans, read_frames
from experiments.captures.pcapng import PcapngWriter
from experiments.declaration.flows import QuicDownload
from experiments.declaration.job import quic_keys
from experiments.emulation.quic_traffic import ID_AT, certificate, configuration
from nodes.strict import InputError
from tests.experiments.synthetic import CN, ethernet, ipv6, run_spec

PORT = 5010
MN = IPv6Address("2001:db8:100::1").packed
FLOW = QuicDownload(anchor="wlan", start="wlan", port=PORT)
UDP = 17
# As captures are cut: 256 octets a frame, less the kernel's part of it.
SNAP_BYTES = 190
DATA = bytes(range(256)) * 40


class Exchanged(NamedTuple):
    """Datagrams of both ends in order, down: from the server."""

    datagrams: list[tuple[bool, bytes]]
    keys: str
    client: QuicConnection
    server: QuicConnection


def exchange(found: Exchanged, now: float, rounds: int = 8) -> None:
    for step in range(rounds):
        at = now + step / 100
        for down, sender, receiver in (
            (False, found.client, found.server),
            (True, found.server, found.client),
        ):
            for timed in (sender, receiver):
                timer = timed.get_timer()
                if timer is not None and timer <= at:
                    timed.handle_timer(at)
            for data, _ in sender.datagrams_to_send(at):
                found.datagrams.append((down, data))
                receiver.receive_datagram(data, ("::1", PORT, 0, 0), at)


@pytest.fixture
def exchanged() -> Exchanged:
    """A request, and then `DATA` from the server."""
    keys = StringIO()
    mine, its = configuration(is_client=True), configuration(is_client=False)
    mine.secrets_log_file = keys
    its.congestion_control_algorithm = "cubic"
    its.certificate, its.private_key = certificate()
    client = QuicConnection(configuration=mine)
    client.connect(("::1", PORT, 0, 0), 0.0)
    stream = client.get_next_available_stream_id()
    client.send_stream_data(stream, b"\n", end_stream=True)
    ((first, _), *_) = client.datagrams_to_send(0.0)
    server = QuicConnection(
        configuration=its,
        original_destination_connection_id=first[ID_AT : ID_AT + first[ID_AT - 1]],
    )
    server.receive_datagram(first, ("::1", PORT, 0, 0), 0.0)
    found = Exchanged([(False, first)], "", client, server)
    exchange(found, 0.01)
    server.send_stream_data(stream, DATA)
    exchange(found, 1.0, 40)
    return found._replace(keys=keys.getvalue())


def identified(
    found: Exchanged, snap: int = SNAP_BYTES, port: int = PORT
) -> tuple[Segments, Booleans]:
    file = BytesIO()
    writer = PcapngWriter(file, ["cn-lma"], 2000)
    for number, (down, data) in enumerate(found.datagrams):
        ends = (PORT, 40000) if down else (40000, PORT)
        head = struct.pack("!HHHH", *ends, 8 + len(data), 0)
        frame = ethernet(ipv6(UDP, *((CN, MN) if down else (MN, CN)), head + data))
        writer.packet(0, 1_000_000 * number, frame[:snap], len(frame), down)
    _, frames = read_frames(file.getvalue())
    inner = np.full(len(frames.start), ETHERNET_BYTES, dtype=np.int64)
    direction = np.where(frames.outbound, DOWN, UP)
    flow = QuicDownload(anchor="wlan", start="wlan", port=port)
    where = (frames, inner, frames.field(inner + 6, 1), direction)
    return identify_quic(flow, *where, read_secrets(found.keys))


def covered(found: Segments, down: np.ndarray) -> list[tuple[int, int]]:
    which = found.which & down
    return sorted(zip(found.sequence[which].tolist(), found.size[which].tolist(), strict=True))


def test_stream_data_are_found_in_packets_that_are_cut_off(exchanged: Exchanged) -> None:
    found, _ = identified(exchanged)
    down = np.array([down for down, _ in exchanged.datagrams])
    octets = set()
    for first, size in covered(found, down):
        octets |= set(range(first, first + size))
    # The first octet of a stream is 1, as with TCP.
    assert octets == set(range(1, len(DATA) + 1))
    assert len(covered(found, down)) >= len(DATA) // 1400
    # Handshake packets have no data.
    assert not found.which[0]


def test_what_is_sent_again_is_another_packet(exchanged: Exchanged) -> None:
    found, _ = identified(exchanged)
    stamps = found.stamp[found.which]
    assert len(set(stamps.tolist())) == len(stamps)


def test_other_ports_are_other_flows(exchanged: Exchanged) -> None:
    found, signals = identified(exchanged, port=PORT + 1)
    assert not found.which.any()
    assert not signals.any()


def test_a_change_of_connection_ids_is_said_to_the_other_end_rfc9000_5_1_2(
    exchanged: Exchanged,
) -> None:
    before = len(exchanged.datagrams)
    _, signals = identified(exchanged)
    exchanged.client.change_connection_id()
    exchange(exchanged, 2.0)
    _, after = identified(exchanged)
    assert after[:before].tolist() == signals.tolist()
    # RETIRE_CONNECTION_ID, and another NEW_CONNECTION_ID for it.
    down = np.array([down for down, _ in exchanged.datagrams])
    assert (after[before:] & ~down[before:]).any()
    assert (after[before:] & down[before:]).any()


def test_without_room_for_frames_nothing_is_found(exchanged: Exchanged) -> None:
    found, signals = identified(exchanged, snap=64)
    assert not found.which.any()
    assert not signals.any()


def test_keys_are_those_of_rfc9001_appendix_a_1() -> None:
    secret = "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea"
    keys = quic_packets._keys(bytes.fromhex(secret))
    assert keys.payload.hex() == "1f369613dd76d5467730efcbe3b1a22d"
    assert keys.nonce.hex() == "fa044b2f42a3fd3b46fb255c"
    assert keys.header.hex() == "9f50449e04a0e810283a1e9933adedd2"


@pytest.mark.parametrize(
    ("numbers", "step"), [(range(0, 200_000, 1), 1), (range(70_000, 0, -1), -1)]
)
def test_packet_numbers_go_on_beyond_16_bits_rfc9000_a_3(numbers: range, step: int) -> None:
    full = np.array(list(numbers)[: 2 * 65536 + 9] if step > 0 else [3, 1, 2, 65535 + 3])
    if step < 0:
        full = np.array([0, 3, 1, 2, 30_000, 60_000, 65_535, 65_537, 65_536])
    assert quic_packets._unwrapped(full & 0xFFFF).tolist() == full.tolist()


def test_no_packets_are_no_columns() -> None:
    file = BytesIO()
    PcapngWriter(file, ["cn-lma"], 2000)
    _, frames = read_frames(file.getvalue())
    found = open_packets(frames, np.zeros(0, dtype=np.int64), bytes(32))
    assert len(found.number) == len(found.size) == 0


@pytest.mark.parametrize(
    ("data", "found"),
    [
        # STREAM with offset and length: type, stream, offset of 2 octets, length of 2.
        ("0e 00 4400 4557", (0x400, 0x557, False)),
        ("0a 00 4557", (0, 0x557, False)),
        # PADDING, PING, MAX_STREAM_DATA before it.
        ("00 00 01 11 00 41 00 0a 00 4003", (0, 3, False)),
        # ACK with a range more, and one with ECN counts.
        ("02 05 00 01 02 00 01 0a 00 4003", (0, 3, False)),
        ("03 05 00 00 02 01 02 03 0a 00 4003", (0, 3, False)),
        ("1a 0102030405060708 0a 00 4003", (0, 3, True)),
        ("1b 0102030405060708", (-1, 0, True)),
        ("19 02 0a 00 4003", (0, 3, True)),
        ("18 02 00 08" + "11" * 8 + "22" * 16 + "0a 00 4003", (0, 3, True)),
        # CONNECTION_CLOSE has no data, nor what is cut off.
        ("1c 00 00 00", (-1, 0, False)),
        ("0e 00 44", (-1, 0, False)),
        ("", (-1, 0, False)),
    ],
)
def test_frames_are_those_of_rfc9000_19(data: str, found: tuple[int, int, bool]) -> None:
    assert quic_packets._parse(bytes.fromhex(data)) == found


@pytest.mark.parametrize("text", ["", "CLIENT_TRAFFIC_SECRET_0 00 11\n", "nonsense"])
def test_a_key_log_without_secrets_is_named(text: str, tmp_path: Path) -> None:
    flow = {"kind": "quic", "anchor": "wlan", "start": "wlan", "port": PORT}
    spec = run_spec(flows={"d": flow}, moves=[])
    path = quic_keys(tmp_path, "d")
    path.parent.mkdir()
    with pytest.raises(InputError, match=r"quic-d\.keys"):
        secrets_of_run(tmp_path, spec)
    path.write_text(text)
    with pytest.raises(InputError, match=r"quic-d\.keys"):
        secrets_of_run(tmp_path, spec)
