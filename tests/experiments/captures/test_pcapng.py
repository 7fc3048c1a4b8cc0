from __future__ import annotations

import contextlib
import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.captures.pcapng import (
    Packet,
    PcapngError,
    PcapngWriter,
    packets_of,
    read_packets,
    scan,
)

NAMES = ["cn-lma", "lma-core", "mn-wlan"]


def capture(*packets: tuple[int, int, bytes, int, bool], snaplen: int = 0) -> bytes:
    file = io.BytesIO()
    writer = PcapngWriter(file, NAMES, snaplen)
    for packet in packets:
        writer.packet(*packet)
    return file.getvalue()


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(NAMES) - 1),
            st.integers(0, 2**63 - 1),
            st.binary(max_size=200),
            st.integers(0, 2**32 - 1),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_what_was_written_is_read(written: list[tuple[int, int, bytes, int, bool]]) -> None:
    assert list(packets_of(capture(*written))) == [
        Packet(NAMES[number], at, outbound, length, data)
        for number, at, data, length, outbound in written
    ]


def test_snap_length_cuts_data_and_keeps_the_original_length() -> None:
    (packet,) = packets_of(capture((0, 5, b"x" * 300, 1400, True), snaplen=180))
    assert (len(packet.data), packet.original_length) == (180, 1400)


def test_headers_are_there_before_the_first_packet() -> None:
    index = scan(capture())
    assert [interface.name for interface in index.interfaces] == NAMES
    assert index.packets == []


def test_writer_refuses_an_unknown_interface() -> None:
    with pytest.raises(ValueError, match="interface 3: the capture has 3"):
        capture((3, 0, b"", 0, True))


def test_other_blocks_and_options_are_skipped() -> None:
    data = capture((1, 7, b"abcd", 4, True))
    statistics = struct.pack("<III", 5, 12, 12)
    comment = struct.pack("<HH4s", 1, 3, b"hey\0")
    flags = struct.pack("<HHI", 2, 4, 1)
    body = struct.pack("<IIIII", 2, 0, 9, 2, 60) + b"ab\0\0" + comment + flags
    length = 12 + len(body)
    block = struct.pack("<II", 6, length) + body + struct.pack("<I", length)
    packets = list(packets_of(data + statistics + block))
    assert packets[1] == Packet("mn-wlan", 9, False, 60, b"ab")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a pcapng file"),
        (b"\xd4\xc3\xb2\xa1" + bytes(40), "is not a pcapng file"),
        (capture((0, 1, b"abcd", 4, True))[:-3], "ends within a block at offset"),
        (capture() + b"\x06\0\0\0\x07\0\0\0" + bytes(20), "block length 7 at offset"),
        (capture() + capture(), "second section"),
        (
            capture() + struct.pack("<IIIIIIII", 6, 32, 9, 0, 0, 0, 0, 32),
            "unknown interface 9",
        ),
        (
            capture() + struct.pack("<IIIIIIII", 6, 32, 0, 0, 0, 99, 0, 32),
            "packet longer than its block",
        ),
    ],
)
def test_what_is_no_capture_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PcapngError, match=message):
        list(packets_of(data))


@given(st.binary(max_size=120), st.integers(0, 300))
def test_garbage_raises_nothing_but_pcapng_error(garbage: bytes, place: int) -> None:
    good = capture((0, 1, b"abcdef", 6, True))
    place = min(place, len(good))
    with contextlib.suppress(PcapngError):
        list(packets_of(good[:place] + garbage + good[place:]))


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    path.write_bytes(capture((1, 1_700_000_000_123_456_789, bytes(60), 60, True)))
    fields = ["frame.interface_name", "frame.time_epoch", "frame.packet_flags_direction"]
    command = ["tshark", "-r", str(path), "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert shown[0] == "lma-core"
    assert "123456789" in shown[1]
    assert shown[2] in ("0x00000002", "2")
    assert len(list(read_packets(path))) == 1
