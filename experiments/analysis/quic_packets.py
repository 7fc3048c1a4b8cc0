"""What packets of QUIC (RFC 9000) have inside, opened with the secrets that an end has logged.

Captured packets are cut short, so their authentication tags are not there; the counter mode below
opens the frames at the beginning of a packet without it (RFC 9001 section 5, AES-128-GCM).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from experiments.analysis.segments import DOWN, UP, Segments
from experiments.captures.frames import (
    IPV6_BYTES,
    NEXT_HEADER_UDP,
    UDP_BYTES,
    Booleans,
    Frames,
    Integers,
    Octets,
)
from experiments.declaration.flows import CONNECTION_ID_BYTES, QuicDownload
from experiments.declaration.job import quic_keys
from experiments.declaration.spec import RunSpec
from nodes.strict import MISSING, InputError

BLOCK = TAG = 16
# RFC 9001 section 5.4.2: the sample begins where the packet number would end if it had 4 octets.
LONGEST_NUMBER = 4
NONCE_BYTES = 12
LONG_HEADER = 0x80
# As many octets of frames as are looked at: what is before the stream data is shorter.
OPENED_BYTES = 6 * BLOCK
NUMBER_WINDOW = 1 << 16

STREAM, STREAM_END = 0x08, 0x0F
STREAM_HAS_OFFSET, STREAM_HAS_LENGTH = 0x04, 0x02
ACK, ACK_ECN = 0x02, 0x03
NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, PATH_CHALLENGE, PATH_RESPONSE = 0x18, 0x19, 0x1A, 0x1B
PADDING, PING, HANDSHAKE_DONE = 0x00, 0x01, 0x1E
# How many integers other frames have (RFC 9000 section 19), and how many octets follow them.
INTEGERS = {
    PADDING: 0,
    PING: 0,
    HANDSHAKE_DONE: 0,
    0x10: 1,  # MAX_DATA
    0x11: 2,  # MAX_STREAM_DATA
    0x12: 1,  # MAX_STREAMS
    0x13: 1,
    0x14: 1,  # DATA_BLOCKED
    0x15: 2,  # STREAM_DATA_BLOCKED
    0x16: 1,  # STREAMS_BLOCKED
    0x17: 1,
    RETIRE_CONNECTION_ID: 1,
    PATH_CHALLENGE: 0,
    PATH_RESPONSE: 0,
}
OCTETS = {PATH_CHALLENGE: 8, PATH_RESPONSE: 8}
RESET_TOKEN = 16
# What ends say to each other about paths: section 9, and 5.1.1 and 5.1.2.
ABOUT_PATHS = (NEW_CONNECTION_ID, RETIRE_CONNECTION_ID, PATH_CHALLENGE, PATH_RESPONSE)


class Secrets(NamedTuple):
    """Of the two directions of a connection's data: what client and server protect with."""

    client: bytes
    server: bytes


class Opened(NamedTuple):
    """Columns over packets with a short header; `offset` and `size` are those of the stream frame,
    -1 and 0: none. `signals`: the packet has a frame about paths or connection IDs."""

    number: Integers
    offset: Integers
    size: Integers
    signals: Booleans


class _Keys(NamedTuple):
    payload: bytes
    nonce: bytes
    header: bytes


def read_secrets(text: str) -> Secrets:
    """The secrets in a key log of NSS. Raises ValueError if there are none of data."""
    entries = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    try:
        found = [entries[f"{end}_TRAFFIC_SECRET_0"].split()[1] for end in ("CLIENT", "SERVER")]
        return Secrets(*(bytes.fromhex(value) for value in found))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"no secrets of a connection: {error}") from None


def secrets_of_run(folder: Path, spec: RunSpec) -> dict[str, Secrets]:
    """Of each download over QUIC in the run in `folder`. Raises InputError."""
    found = {}
    for name, flow in spec.flows.items():
        if isinstance(flow, QuicDownload):
            path = quic_keys(folder, name)
            try:
                found[name] = read_secrets(path.read_text(encoding="ascii"))
            except (OSError, ValueError) as error:
                raise InputError(str(path), "(file)", MISSING, str(error)) from None
    return found


def _expand(secret: bytes, label: bytes, length: int) -> bytes:
    """HKDF-Expand-Label (RFC 8446 section 7.1)."""
    full = b"tls13 " + label
    info = struct.pack("!HB", length, len(full)) + full + b"\0"
    return HKDFExpand(algorithm=hashes.SHA256(), length=length, info=info).derive(secret)


def _keys(secret: bytes) -> _Keys:
    """RFC 9001 section 5.1."""
    return _Keys(
        _expand(secret, b"quic key", BLOCK),
        _expand(secret, b"quic iv", NONCE_BYTES),
        _expand(secret, b"quic hp", BLOCK),
    )


def _encrypt(key: bytes, blocks: Octets) -> Octets:
    """Each block of 16 octets by itself."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return np.frombuffer(encryptor.update(blocks.tobytes()), dtype=np.uint8).reshape(blocks.shape)


def identify_quic(
    declared: QuicDownload,
    frames: Frames,
    inner: Integers,
    next_header: Integers,
    direction: Integers,
    secrets: Secrets,
) -> tuple[Segments, Booleans]:
    """Packets with data of the stream, and those that are about paths or connection IDs. `inner`:
    where the IPv6 header of the end hosts is in each frame. What is sent again has another packet
    number."""
    count = len(frames.start)
    transport = inner + IPV6_BYTES
    cn_port = frames.field(transport + np.where(direction == DOWN, 0, 2), 2)
    first = frames.field(transport + UDP_BYTES, 1)
    mine = (next_header == NEXT_HEADER_UDP) & (cn_port == declared.port)
    mine &= (first >= 0) & (first & LONG_HEADER == 0)
    found = Segments(
        which=np.zeros(count, dtype=np.bool_),
        sequence=np.zeros(count, dtype=np.int64),
        size=np.zeros(count, dtype=np.int64),
        stamp=np.zeros(count, dtype=np.int64),
    )
    signals = np.zeros(count, dtype=np.bool_)
    for way, secret in ((DOWN, secrets.server), (UP, secrets.client)):
        places = np.flatnonzero(mine & (direction == way))
        places = places[np.argsort(frames.timestamp_ns[places], kind="stable")]
        opened = open_packets(frames.select(places), inner[places], secret)
        found.which[places] = opened.size > 0
        found.sequence[places] = opened.offset + 1
        found.size[places] = opened.size
        found.stamp[places] = opened.number
        signals[places] = opened.signals
    return found, signals


def open_packets(frames: Frames, inner: Integers, secret: bytes) -> Opened:
    """`frames`: packets of one sender with short headers, as they were captured at one or several
    places, in order of time; `inner`: where the IPv6 header of the end hosts is in each."""
    keys = _keys(secret)
    start = inner + IPV6_BYTES + UDP_BYTES
    number_at = start + 1 + CONNECTION_ID_BYTES
    mask = _encrypt(keys.header, _octets(frames, number_at + LONGEST_NUMBER, BLOCK))
    first = frames.field(start, 1) ^ (mask[:, 0] & 0x1F)
    length = (first & 0x03) + 1
    value = np.zeros(len(start), dtype=np.int64)
    for position in range(LONGEST_NUMBER):
        octet = frames.field(number_at + position, 1) ^ mask[:, 1 + position]
        value = np.where(position < length, value << 8 | octet, value)
    number = _unwrapped(value)
    payload_at = number_at + length
    opened = _octets(frames, payload_at, OPENED_BYTES) ^ _key_stream(keys, number)
    end = inner + IPV6_BYTES + frames.field(inner + 4, 2) - TAG
    visible = np.clip(np.minimum(frames.captured, end) - payload_at, 0, OPENED_BYTES)
    found = [
        _parse(bytes(octets[:limit]))
        for octets, limit in zip(opened, visible.tolist(), strict=True)
    ]
    columns = np.array(found, dtype=np.int64).reshape(-1, 3)
    return Opened(number, columns[:, 0], columns[:, 1], columns[:, 2].astype(np.bool_))


def _octets(frames: Frames, at: Integers, count: int) -> Octets:
    """A row of octets a frame; 0 where it was cut off."""
    columns = [np.maximum(frames.field(at + position, 1), 0) for position in range(count)]
    return np.stack(columns, axis=1).astype(np.uint8)


def _unwrapped(value: Integers) -> Integers:
    """Packet numbers from their last 16 bits (RFC 9000 appendix A.3): each is the nearest to the
    one before."""
    if not len(value):
        return value
    step = np.diff(value, prepend=0) % NUMBER_WINDOW
    step = np.where(step >= NUMBER_WINDOW // 2, step - NUMBER_WINDOW, step)
    return np.cumsum(step)


def _key_stream(keys: _Keys, number: Integers) -> Octets:
    """RFC 9001 section 5.3; the first counter of data is 2 (NIST SP 800-38D section 7.1)."""
    blocks = OPENED_BYTES // BLOCK
    nonce = np.tile(np.frombuffer(keys.nonce, dtype=np.uint8), (len(number), 1))
    nonce[:, NONCE_BYTES - 8 :] ^= number.astype(">u8").view(np.uint8).reshape(-1, 8)
    counters = np.zeros((len(number), blocks, BLOCK), dtype=np.uint8)
    counters[:, :, :NONCE_BYTES] = nonce[:, None, :]
    counters[:, :, BLOCK - 1] = np.arange(2, 2 + blocks)
    return _encrypt(keys.payload, counters).reshape(len(number), blocks * BLOCK)


class _CutOff(Exception):
    """The rest of the packet was not captured."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise _CutOff
        self.at += count
        return self.data[self.at - count : self.at]

    def integer(self) -> int:
        """RFC 9000 section 16."""
        first = self.take(1)[0]
        more = (1 << (first >> 6)) - 1
        return int.from_bytes(bytes([first & 0x3F]) + self.take(more), "big")

    def more(self) -> bool:
        return self.at < len(self.data)


def _parse(data: bytes) -> tuple[int, int, bool]:
    """Offset and size of the stream frame (-1, 0: none), and whether a frame is about paths."""
    reader, signals = _Reader(data), False
    try:
        while reader.more():
            kind = reader.integer()
            if STREAM <= kind <= STREAM_END:
                reader.integer()
                offset = reader.integer() if kind & STREAM_HAS_OFFSET else 0
                if not kind & STREAM_HAS_LENGTH:
                    break
                return offset, reader.integer(), signals
            signals |= kind in ABOUT_PATHS
            if kind in (ACK, ACK_ECN):
                _skip_ack(reader, kind)
            elif kind == NEW_CONNECTION_ID:
                reader.integer(), reader.integer()
                reader.take(reader.take(1)[0] + RESET_TOKEN)
            elif kind in INTEGERS:
                for _ in range(INTEGERS[kind]):
                    reader.integer()
                reader.take(OCTETS.get(kind, 0))
            else:
                break
    except _CutOff:
        pass
    return -1, 0, signals


def _skip_ack(reader: _Reader, kind: int) -> None:
    """RFC 9000 section 19.3."""
    reader.integer(), reader.integer()
    ranges = reader.integer()
    for _ in range(1 + 2 * ranges + (3 if kind == ACK_ECN else 0)):
        reader.integer()
