"""The kinds of traffic that an experiment declares."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from topologies.model import NonNegative, Positive

Count = Annotated[int, msgspec.Meta(ge=1)]
# Of QUIC's end hosts: octets of UDP payload at most, with which an IPv6 packet has 1448 and passes
# the tunnels whole, and of connection IDs.
QUIC_DATAGRAM_BYTES, CONNECTION_ID_BYTES = 1400, 8
PayloadBytes = Annotated[int, msgspec.Meta(ge=32, le=1400)]


class UdpFlow(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="udp",
):
    """A constant-rate flow between CN and MN: in both directions, or only `down` to the MN or `up`
    from it.

    `anchor` is the access whose prefix the MN's address comes from (in the shared model both
    accesses have the same prefix); `start` is the access that carries the flow at first, `mn` the
    number of the MN. The default payload is that of a voice codec with RTP at 50 packets/s, padded
    so that the frame has 250 octets: then its time on the reference accesses is a whole multiple of
    10 us, the resolution of recorded times, and two runs can't differ by rounding.
    """

    anchor: str
    start: str
    port: Annotated[int, msgspec.Meta(ge=1024, le=65535)]
    mn: Count = 1
    interval_ms: Positive = 20.0
    payload_bytes: PayloadBytes = 188
    directions: Literal["both", "down", "up"] = "both"
    from_s: NonNegative = 5.0
    until_s: Positive = 29.0


class TcpDownload(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="tcp",
):
    """A bulk download from CN to MN; `congestion` is the sender's congestion control. With
    `rate_mbit` the sender paces itself to it, as a server of video does."""

    anchor: str
    start: str
    port: Annotated[int, msgspec.Meta(ge=1024, le=65535)]
    mn: Count = 1
    congestion: Literal["cubic", "bbr", "reno"] = "cubic"
    rate_mbit: Positive | None = None
    from_s: NonNegative = 5.0
    until_s: Positive = 29.0


class MptcpDownload(
    TcpDownload, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="mptcp"
):
    """The same over Multipath TCP (RFC 8684), of the kernel: from the MN's address on `start`, with
    a subflow from its address on each other access. With `subflows = "backup"` these carry data
    only when no other does (the B bit, section 3.2)."""

    subflows: Literal["backup", "all"] = "backup"


class QuicDownload(TcpDownload, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="quic"):
    """The same over a stream of QUIC (RFC 9000), of aioquic."""

    congestion: Literal["cubic"] = "cubic"
    rate_mbit: None = None


Flow = UdpFlow | TcpDownload | MptcpDownload | QuicDownload


class IdleFlows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """So many UDP flows of each MN besides that carry no packets: rows of the LMA's flow mobility
    cache, with ports from `port` on."""

    count: Count
    anchor: str
    start: str
    port: Annotated[int, msgspec.Meta(ge=1024, le=65535)] = 20_000


def traffic_kind(flow: Flow) -> str:
    """As the file has it: udp, tcp, mptcp, quic."""
    return str(flow.__struct_config__.tag)
