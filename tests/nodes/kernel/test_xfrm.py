from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address, IPv6Network

import pytest

from nodes.ipsec.security_associations import SecurityAssociation
from nodes.kernel import xfrm
from nodes.kernel.netlink_replies import attributes

LMA, MAG = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:11::1")
UPDATES = xfrm.Traffic(IPv6Network(MAG), IPv6Network(LMA), 5)
SELECTOR, POLICY, TEMPLATE, STATE = 56, 168, 64, 224  # sizes of linux/xfrm.h


def test_selector_has_the_type_where_the_source_port_is() -> None:
    body = xfrm.protect(UPDATES, "in", 7).body
    assert body[:16] == LMA.packed
    assert body[16:32] == MAG.packed
    assert body[32:40] == bytes.fromhex("0000 0000 0005 ffff")
    family, *rest = struct.unpack_from("=HBBB", body, 40)
    assert (family, rest) == (10, [128, 128, 135])


def test_policy_asks_for_esp_in_transport_mode() -> None:
    request = xfrm.protect(UPDATES, "in", 7)
    (kind, template), *more = attributes(request.body[POLICY:])
    assert (kind, more, len(template)) == (5, [], TEMPLATE)
    assert template[:16] == LMA.packed
    assert template[16:21] == bytes(4) + bytes([50])  # any SPI
    assert template[28:44] == MAG.packed
    reqid, mode, _, optional = struct.unpack_from("=IBBB", template, 44)
    assert (reqid, mode, optional) == (7, 0, 0)


def test_directions_and_actions() -> None:
    for request, expected in (
        (xfrm.protect(UPDATES, "in", 7), (1_000, 0, 0)),
        (xfrm.protect(UPDATES, "out", 7), (1_000, 1, 0)),
        (xfrm.refuse(UPDATES, "in"), (2_000, 0, 1)),
        (xfrm.refuse(UPDATES, "out"), (2_000, 1, 1)),
    ):
        priority, _, way, action = struct.unpack_from("=IIBB", request.body, 152)
        assert (priority, way, action) == expected
    assert len(xfrm.refuse(UPDATES, "in").body) == POLICY


def test_remaining_traffic_is_of_anybody_and_any_type() -> None:
    body = xfrm.refuse(xfrm.Traffic(xfrm.ANYBODY, IPv6Network(LMA)), "in").body
    assert body[16:32] == bytes(16)
    assert body[36:40] == bytes(4)
    assert tuple(body[42:45]) == (128, 0, 135)


def test_association_is_bound_to_its_ends_and_has_a_window_of_64() -> None:
    """RFC 4303 section 3.4.3; without a selector, a MAG with keys could speak for another."""
    request = xfrm.new_association(SecurityAssociation(MAG, LMA, 0x1234, bytes(range(36))), 9)
    body = request.body
    assert tuple(body[42:45]) == (128, 128, 135)
    assert body[SELECTOR : SELECTOR + 21] == LMA.packed + bytes.fromhex("00001234") + b"\x32"
    assert struct.unpack_from("=IHB", body, 208) == (9, 10, 0)
    found = dict(attributes(body[STATE:]))
    algorithm = found[18]
    assert algorithm[:64].rstrip(b"\0") == b"rfc4106(gcm(aes))"
    assert struct.unpack_from("=II", algorithm, 64) == (288, 128)
    assert algorithm[72:] == bytes(range(36))
    assert struct.unpack("=6I", found[23][:24]) == (2, 0, 0, 0, 0, 64)
    assert len(found[23]) == 24 + 8


def test_requests_are_named_without_the_key() -> None:
    request = xfrm.new_association(SecurityAssociation(MAG, LMA, 0x1234, b"k" * 36), 9)
    assert request.what == f"security association 0x00001234 from {MAG} to {LMA}"
    assert "Mobility Header 5" in xfrm.protect(UPDATES, "out", 1).what


def test_associations_of_the_kernel_are_read_with_their_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers in the layout in which they are made."""
    found = [SecurityAssociation(MAG, LMA, 0x1234, bytes(range(36)))]
    found.append(SecurityAssociation(LMA, MAG, 0xC0FFEE00, bytes(20)))
    bodies = [xfrm.new_association(sa, 9).body for sa in found]
    without_aead = bodies[0][:STATE]
    monkeypatch.setattr(xfrm, "dump", lambda _, kind: [*bodies, without_aead] * (kind == 0x12))
    with socket.socket() as channel:
        assert xfrm.associations(channel) == sorted(found)
