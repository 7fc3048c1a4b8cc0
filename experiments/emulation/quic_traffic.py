"""Downloads over QUIC (RFC 9000) whose client migrates to another address of its own.

Both ends are aioquic's state machine, driven here: it is handed the time, so a wake-up reads the
clock once. TLS secrets are logged: whoever measures needs them to see stream data in packets.
"""

from __future__ import annotations

import datetime
import select
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.congestion.base import QuicRttMonitor, register_congestion_control
from aioquic.quic.congestion.cubic import CubicCongestionControl
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import QuicEvent, StreamDataReceived
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import CipherSuite
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from experiments.declaration.flows import CONNECTION_ID_BYTES, QUIC_DATAGRAM_BYTES, QuicDownload
from experiments.declaration.job import quic_keys
from experiments.declaration.spec import RunSpec
from experiments.emulation.traffic import (
    NANOSECONDS,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    TCP_BUFFER_BYTES,
    TIMER_SLACK_NS,
    Reconnection,
    bind_when_ready,
    correspondent_address,
    end_on_sigterm,
    flow_ids,
    report,
    sleep_until,
)
from topologies.namespaces import set_timer_slack

APPLICATION = "flowmob"
REQUEST = b"\n"
# The server gives the stream data until this much waits; what headers take comes on top.
AHEAD_BYTES = 1 << 20
CHUNK_BYTES = 64 << 10
CUBIC_PER_PATH = "cubic-per-path"
LARGEST_DATAGRAM = 65536
# RFC 9000 section 17.2: flags, version, length of the destination connection ID.
ID_AT = 1 + 4 + 1
# Nobody authenticates anybody here, and so two runs can have the same certificate.
PRIVATE_KEY = bytes(32)
VALID = (datetime.datetime(2020, 1, 1), datetime.datetime(2120, 1, 1))

# As sockets have it: host, port, flow label, scope.
_Address = tuple[str, int, int, int]


@dataclass(frozen=True)
class QuicTransfer:
    """A bulk download: `sender` (the server) sends to `receiver` as fast as QUIC lets it. The
    client goes on from another address at `migration`. TLS secrets are written to `keys`."""

    fid: int
    sender: IPv6Address
    receiver: IPv6Address
    port: int
    from_s: float
    until_s: float
    keys: Path
    migration: Reconnection | None = None


def quic_transfers(
    spec: RunSpec,
    mn_addresses: Mapping[str, IPv6Address],
    migrations: Mapping[str, Reconnection],
    folder: Path,
) -> list[QuicTransfer]:
    """The downloads of a run over QUIC. `mn_addresses`: the MN's address per flow name; `folder`:
    the run's."""
    ids = flow_ids(spec)
    return [
        QuicTransfer(
            fid=ids[name],
            sender=correspondent_address(spec),
            receiver=mn_addresses[name],
            port=flow.port,
            from_s=flow.from_s,
            until_s=flow.until_s,
            keys=quic_keys(folder, name),
            migration=migrations.get(name),
        )
        for name, flow in spec.flows.items()
        if isinstance(flow, QuicDownload)
    ]


class CubicPerPath(CubicCongestionControl):
    """What was sent over the path before counts for nothing on the new one (RFC 9000 section 9.4).
    aioquic itself keeps its window when a client migrates."""

    _begun = float("-inf")

    def begin(self, now: float) -> None:
        """A path that nothing is known of yet."""
        self._begun = now
        self.bytes_in_flight = 0
        self._rtt_monitor = QuicRttMonitor()
        self.reset()

    def _mine(self, packets: Iterable[QuicSentPacket]) -> list[QuicSentPacket]:
        return [packet for packet in packets if (packet.sent_time or 0.0) >= self._begun]

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        if self._mine([packet]):
            super().on_packet_acked(now=now, packet=packet)

    def on_packets_expired(self, *, packets: Iterable[QuicSentPacket]) -> None:
        super().on_packets_expired(packets=self._mine(packets))

    def on_packets_lost(self, *, now: float, packets: Iterable[QuicSentPacket]) -> None:
        if mine := self._mine(packets):
            super().on_packets_lost(now=now, packets=mine)


class _End:
    """One end of a connection, and the sockets that its packets may come in at; they leave by the
    last one."""

    def __init__(self, connection: QuicConnection) -> None:
        self.connection = connection
        self.channels: list[socket.socket] = []
        self.now_ns = time.monotonic_ns()
        self.octets_sent = 0
        self.failed = 0

    def exchange(self, until_ns: int) -> bool:
        """Send what there is to send, and wait for packets or timers, until something happened;
        False when `until_ns` has come."""
        self._send(self.now_ns / NANOSECONDS)
        timer = self.connection.get_timer()
        ends = [until_ns] if timer is None else [until_ns, round(timer * NANOSECONDS)]
        wait_s = max(0, min(ends) - self.now_ns) / NANOSECONDS
        ready, _, _ = select.select(self.channels, [], [], wait_s)
        # The only look at the clock: what is done before the next one takes no time.
        self.now_ns = time.monotonic_ns()
        for channel in ready:
            data, source = channel.recvfrom(LARGEST_DATAGRAM)
            self.connection.receive_datagram(data, source, self.now_ns / NANOSECONDS)
        if timer is not None and self.now_ns >= timer * NANOSECONDS:
            self.connection.handle_timer(self.now_ns / NANOSECONDS)
        return self.now_ns < until_ns

    def _send(self, now: float) -> None:
        for data, destination in self.connection.datagrams_to_send(now):
            self.octets_sent += len(data)
            try:
                self.channels[-1].sendto(data, destination)
            except OSError:  # an access that is gone: a lost packet, as any other
                self.failed += 1

    def events(self) -> list[QuicEvent]:
        found = []
        while (event := self.connection.next_event()) is not None:
            found.append(event)
        return found


def serve_quic(transfer: QuicTransfer, start_ns: int) -> None:
    """Answer the client's request with data until `until_s`, and then close. Prints one JSON line
    with the octets given to the stream. Raises OSError, and TimeoutError if nobody came."""
    end_on_sigterm()
    set_timer_slack(TIMER_SLACK_NS)
    until_ns = start_ns + round(transfer.until_s * NANOSECONDS)
    controls: list[CubicPerPath] = []

    def control(max_datagram_size: int) -> CubicPerPath:
        controls.append(CubicPerPath(max_datagram_size))
        return controls[-1]

    register_congestion_control(CUBIC_PER_PATH, control)
    with _udp_socket() as channel:
        bind_when_ready(channel, transfer.sender, transfer.port)
        end = _accept(transfer, channel, until_ns)
        given, stream = 0, None
        peer = end.connection.get_peer_address()
        while end.exchange(until_ns):
            for event in end.events():
                if isinstance(event, StreamDataReceived):
                    stream = event.stream_id
            if end.connection.get_peer_address() != peer:
                peer = end.connection.get_peer_address()
                controls[-1].begin(end.now_ns / NANOSECONDS)
            while stream is not None and given < end.octets_sent + AHEAD_BYTES:
                end.connection.send_stream_data(stream, bytes(CHUNK_BYTES))
                given += CHUNK_BYTES
        end.connection.close()
        end.exchange(end.now_ns)
    report(fid=transfer.fid, bytes_given=given, failed=end.failed)


def _accept(transfer: QuicTransfer, channel: socket.socket, until_ns: int) -> _End:
    """The server's end of the connection that the first packet opens."""
    remaining_s = (until_ns - time.monotonic_ns()) / NANOSECONDS
    if remaining_s <= 0 or not select.select([channel], [], [], remaining_s)[0]:
        raise TimeoutError(f"flow {transfer.fid}: nobody connected by {transfer.until_s} s")
    data, source = channel.recvfrom(LARGEST_DATAGRAM)
    settings = configuration(is_client=False)
    settings.certificate, settings.private_key = certificate()
    connection = QuicConnection(
        configuration=settings,
        original_destination_connection_id=data[ID_AT : ID_AT + data[ID_AT - 1]],
    )
    connection.receive_datagram(data, source, time.monotonic_ns() / NANOSECONDS)
    end = _End(connection)
    end.channels.append(channel)
    return end


def fetch_quic(transfer: QuicTransfer, start_ns: int) -> None:
    """Connect at `from_s`, ask, read until `until_s`, and migrate in between. Prints one JSON line
    with the octets of the stream."""
    end_on_sigterm()
    set_timer_slack(TIMER_SLACK_NS)
    sleep_until(start_ns + round(transfer.from_s * NANOSECONDS))
    then = transfer.migration
    with transfer.keys.open("w", encoding="ascii") as keys, _udp_socket() as first:
        bind_when_ready(first, transfer.receiver, transfer.port)
        settings = configuration(is_client=True)
        settings.secrets_log_file = keys
        connection = QuicConnection(configuration=settings)
        end = _End(connection)
        end.channels.append(first)
        server = (str(transfer.sender), transfer.port, 0, 0)
        connection.connect(server, time.monotonic_ns() / NANOSECONDS)
        stream = connection.get_next_available_stream_id()
        connection.send_stream_data(stream, REQUEST, end_stream=True)
        last_ns = start_ns + round(transfer.until_s * NANOSECONDS)
        if then is None:
            total = _read(end, last_ns)
        else:
            total = _read(end, start_ns + round(then.instant_s * NANOSECONDS))
            with _udp_socket() as second:
                bind_when_ready(second, then.address, transfer.port)
                end.channels.append(second)
                # Another connection ID, so that nobody can link the two paths (RFC 9000 section
                # 9.5); retiring the first one is a packet that tells the server.
                connection.change_connection_id()
                total += _read(end, last_ns)
    report(fid=transfer.fid, bytes_received=total, failed=end.failed)


def _read(end: _End, until_ns: int) -> int:
    """Octets of the stream that came until then."""
    total = 0
    going = True
    while going:
        going = end.exchange(until_ns)
        for event in end.events():
            if isinstance(event, StreamDataReceived):
                total += len(event.data)
    return total


def _udp_socket() -> socket.socket:
    channel = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    channel.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, TCP_BUFFER_BYTES)
    channel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, TCP_BUFFER_BYTES)
    return channel


def configuration(is_client: bool) -> QuicConfiguration:
    """What both ends have in common. The server lacks its certificate, and what it sends data with
    has to be registered first."""
    return QuicConfiguration(
        alpn_protocols=[APPLICATION],
        cipher_suites=[CipherSuite.AES_128_GCM_SHA256],
        congestion_control_algorithm="cubic" if is_client else CUBIC_PER_PATH,
        connection_id_length=CONNECTION_ID_BYTES,
        is_client=is_client,
        max_data=TCP_BUFFER_BYTES,
        max_stream_data=TCP_BUFFER_BYTES,
        max_datagram_size=QUIC_DATAGRAM_BYTES,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=False,
    )


def certificate() -> tuple[x509.Certificate, Any]:
    """The server's, which nobody checks, and its key: the same in every run."""
    key = Ed25519PrivateKey.from_private_bytes(PRIVATE_KEY)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, APPLICATION)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(VALID[0])
        .not_valid_after(VALID[1])
    )
    return builder.sign(key, None), key
