import contextlib
import struct
from ipaddress import IPv6Address, IPv6Network

import pytest

from nodes.kernel.netlink import RTA_DST
from topologies import netlink
from topologies.model import Direction


def attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        length, kind = struct.unpack_from("=HH", data)
        found[kind] = data[4:length]
        data = data[length + -length % 4 :]
    return found


def test_attributes_are_padded_to_four_bytes_and_not_counted() -> None:
    assert netlink.attribute(3, b"lo\0") == b"\x07\x00\x03\x00lo\0\0"


def test_netem_has_delay_rate_loss_limit_and_seed() -> None:
    direction = Direction(delay_ms=25.0, rate_mbit=20.0, loss=0.5, queue_packets=100)
    request = netlink.set_netem(7, direction, seed=42)
    options = attributes(request.body[20:])[netlink.TCA_OPTIONS]
    assert struct.unpack_from("=III", options) == (0, 142, round(0.5 * 0xFFFF_FFFF))
    values = attributes(options[24:])
    assert values[netlink.TCA_NETEM_LATENCY64] == struct.pack("=q", 25_000_000)
    assert values[netlink.TCA_NETEM_RATE] == struct.pack("=IiIi", 2_500_000, 0, 0, 0)
    assert values[netlink.TCA_NETEM_PRNG_SEED] == struct.pack("=Q", 42)
    assert netlink.TCA_NETEM_RATE64 not in values


def test_a_change_keeps_the_random_numbers_and_sets_what_is_absent() -> None:
    options = attributes(netlink.set_netem(7, Direction(), seed=None).body[20:])
    values = attributes(options[netlink.TCA_OPTIONS][24:])
    assert netlink.TCA_NETEM_PRNG_SEED not in values
    assert values[netlink.TCA_NETEM_RATE] == bytes(16)


def test_rates_above_34_gbit_per_second_have_64_bits() -> None:
    request = netlink.set_netem(1, Direction(rate_mbit=40_000.0), seed=None)
    values = attributes(attributes(request.body[20:])[netlink.TCA_OPTIONS][24:])
    assert values[netlink.TCA_NETEM_RATE64] == struct.pack("=Q", 5_000_000_000)


def test_a_default_route_has_a_destination_of_length_0() -> None:
    gateway = IPv6Address("fe80::1")
    default = netlink.add_route(None, gateway, 3).body
    assert default[1] == 0
    assert attributes(default[12:])[RTA_DST] == bytes(16)
    network = IPv6Network("2001:db8::/48")
    body = netlink.add_route(network, gateway, 3).body
    assert body[1] == 48
    assert attributes(body[12:])[RTA_DST] == network.network_address.packed


def test_many_requests_go_in_parts_whose_acknowledgements_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A MAG with 200 access links has more than the socket's buffer takes at once."""
    sent: list[list[netlink.Request]] = []
    monkeypatch.setattr(netlink, "socket_in", lambda _namespace, _make: contextlib.nullcontext())
    monkeypatch.setattr(netlink, "carry_out", lambda _channel, part: sent.append(list(part)))
    requests = [netlink.set_link(f"x{number}", up=True) for number in range(300)]
    netlink.send(0, requests)
    assert [request for part in sent for request in part] == requests
    assert max(map(len, sent)) <= netlink.AT_ONCE
