import struct
from collections.abc import Sequence

import pytest

from experiments.captures.packet_filter import (
    Instruction,
    accept_ethertype,
    accept_next_headers,
    accept_signalling,
    accept_udp_or_tunnelled_udp,
    filter_bytes,
)

DATA_HEADERS = (17, 6, 41)


def run_filter(program: Sequence[Instruction], packet: bytes) -> int:
    """What the kernel's interpreter returns; a load outside the packet rejects it."""
    accumulator = position = 0
    while True:
        code, yes, no, constant = program[position]
        position += 1
        if code == 0x06:
            return constant
        if code == 0x15:
            position += yes if accumulator == constant else no
        else:
            size = 2 if code == 0x28 else 1
            if constant + size > len(packet):
                return 0
            accumulator = int.from_bytes(packet[constant : constant + size], "big")


def packet(next_header: int, payload: bytes = b"", ethertype: int = 0x86DD) -> bytes:
    ip = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64) + bytes(32)
    return bytes(12) + ethertype.to_bytes(2, "big") + ip + payload


@pytest.mark.parametrize("next_header", DATA_HEADERS)
def test_data_filter_accepts_each_of_its_headers(next_header: int) -> None:
    assert run_filter(accept_next_headers(DATA_HEADERS), packet(next_header)) > 0


@pytest.mark.parametrize("frame", [packet(58), packet(135), packet(17, ethertype=0x0800), b""])
def test_data_filter_rejects_all_else(frame: bytes) -> None:
    assert run_filter(accept_next_headers(DATA_HEADERS), frame) == 0


@pytest.mark.parametrize("next_header", [135, 50])
def test_control_filter_accepts_mobility_headers_and_esp_also_in_fragments(
    next_header: int,
) -> None:
    program = accept_signalling()
    assert run_filter(program, packet(next_header)) > 0
    assert run_filter(program, packet(44, bytes([next_header, *bytes(7)]))) > 0


@pytest.mark.parametrize(
    "frame",
    [
        packet(17, bytes(60)),
        packet(17, bytes([135, *bytes(7)])),
        packet(44, bytes([41, *bytes(7)])),
        packet(44),
        packet(135, ethertype=0x0800),
        b"",
    ],
)
def test_control_filter_rejects_all_else(frame: bytes) -> None:
    """Fragments of tunnelled packets among it."""
    assert run_filter(accept_signalling(), frame) == 0


def test_ethertype_filter_accepts_one_only() -> None:
    program = accept_ethertype(0x88B5)
    assert run_filter(program, packet(0, ethertype=0x88B5)) > 0
    assert run_filter(program, packet(135)) == 0
    assert run_filter(program, b"") == 0


@pytest.mark.parametrize(("inner", "accepted"), [(17, True), (6, False), (58, False), (135, False)])
def test_tunnel_filter_looks_at_the_inner_header(inner: int, accepted: bool) -> None:
    within = packet(inner)[14:]
    limit = bytes([41, 0, 4, 1, 4, 1, 0, 0])
    program = accept_udp_or_tunnelled_udp()
    assert bool(run_filter(program, packet(41, within))) is accepted
    assert bool(run_filter(program, packet(60, limit + within))) is accepted
    assert not run_filter(program, within)
    assert run_filter(program, packet(17, bytes(60)))
    assert not run_filter(program, packet(6, bytes(60)))
    assert not run_filter(program, packet(17, bytes(60), ethertype=0x0800))


def test_filter_bytes_are_the_kernels_struct() -> None:
    assert filter_bytes([(0x28, 0, 0, 12), (0x06, 0, 0, 0)]) == bytes.fromhex(
        "28000000 0c000000 06000000 00000000"
    )
