"""Downloads over QUIC: what the two ends are told, and how they treat another path."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.tls import Epoch

from experiments.declaration.access_events import AccessEvent, instant_s
from experiments.declaration.experiment import TOPOLOGIES
from experiments.declaration.flows import QuicDownload
from experiments.declaration.spec import RunSpec
from experiments.emulation.mptcp_traffic import reconnections
from experiments.emulation.quic_traffic import (
    CubicPerPath,
    certificate,
    quic_transfers,
)
from experiments.emulation.traffic import tcp_transfers
from nodes.strict import load_toml
from topologies.model import Topology

ADDRESSES = {"wlan": IPv6Address("2001:db8:100::1"), "cell": IPv6Address("2001:db8:100:1::1")}
DOWNLOAD = QuicDownload(anchor="wlan", start="wlan", port=5010)
DATAGRAM = 1400


def test_the_client_migrates_at_the_instant_of_the_seed(tmp_path: Path) -> None:
    event = AccessEvent(at_s=8.0, do="migrate", access="cell", flow="d")
    topology = load_toml(TOPOLOGIES / "reference.toml", Topology)
    spec = RunSpec(topology=topology, flows={"d": DOWNLOAD}, events={"m": event})
    later = reconnections(spec, 3, ADDRESSES)
    (transfer,) = quic_transfers(spec, {"d": ADDRESSES["wlan"]}, later, tmp_path)
    assert transfer.migration is not None
    assert transfer.migration.instant_s == instant_s(8.0, 20.0, 3)
    assert transfer.migration.address == ADDRESSES["cell"]
    assert (transfer.fid, transfer.receiver) == (1, ADDRESSES["wlan"])
    assert transfer.keys == tmp_path / "logs" / "quic-d.keys"
    assert not tcp_transfers(spec, {"d": ADDRESSES["wlan"]})
    (stays,) = quic_transfers(spec, {"d": ADDRESSES["wlan"]}, {}, tmp_path)
    assert stays.migration is None


def test_all_runs_have_the_same_certificate() -> None:
    (one, _), (other, _) = certificate(), certificate()
    assert one == other


def packet(sent_time: float) -> QuicSentPacket:
    return QuicSentPacket(
        epoch=Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=1,
        packet_type=QuicPacketType.ONE_RTT,
        sent_time=sent_time,
        sent_bytes=1000,
    )


def test_a_new_path_begins_with_the_initial_window_rfc9000_9_4() -> None:
    control = CubicPerPath(DATAGRAM)
    for _ in range(20):
        control.on_packet_sent(packet=packet(1.0))
        control.on_packet_acked(now=1.1, packet=packet(1.0))
    control.on_packet_sent(packet=packet(1.9))
    assert control.congestion_window > 10 * DATAGRAM
    control.begin(2.0)
    assert (control.congestion_window, control.bytes_in_flight) == (10 * DATAGRAM, 0)


@pytest.mark.parametrize("what", ["acked", "lost", "expired"])
def test_packets_of_the_old_path_count_for_nothing_rfc9000_9_4(what: str) -> None:
    control = CubicPerPath(DATAGRAM)
    control.begin(2.0)
    for sent_time, flying in ((1.9, 1000), (2.0, 0)):
        if sent_time == 1.9:
            control.on_packet_sent(packet=packet(2.0))
        old = [packet(sent_time)]
        if what == "acked":
            control.on_packet_acked(now=2.1, packet=old[0])
        elif what == "lost":
            control.on_packets_lost(now=2.1, packets=old)
        else:
            control.on_packets_expired(packets=old)
        assert control.bytes_in_flight == flying
