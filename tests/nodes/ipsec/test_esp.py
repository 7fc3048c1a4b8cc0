from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from nodes.ipsec.esp import EspKeys, Opened
from nodes.ipsec.security_associations import SecurityAssociation, write_keys
from tests.sealing import ipv6_packet, seal

LMA, MAG = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:11::1")
SA = SecurityAssociation(MAG, LMA, 0x100, bytes(range(36)))
KEYS = EspKeys([SA])


@given(st.binary(max_size=300), st.integers(0, 255), st.integers(1, 2**32 - 1))
def test_what_is_sealed_is_opened(payload: bytes, next_header: int, sequence: int) -> None:
    assert KEYS.open(LMA, seal(SA, payload, next_header, sequence)) == Opened(next_header, payload)


def test_known_answer() -> None:
    """RFC 4106 section 3 and RFC 4303 section 2, put together by hand."""
    key, salt, iv = SA.key[:32], SA.key[32:], b"12345678"
    header = bytes.fromhex("00000100 00000007".replace(" ", ""))
    plain = b"mobility" + b"\x01\x02" + b"\x02" + b"\x87"
    packet = header + iv + AESGCM(key).encrypt(salt + iv, plain, header)
    assert KEYS.open(LMA, packet) == Opened(135, b"mobility")


@given(st.data())
def test_what_was_changed_or_cut_is_not_opened(data: st.DataObject) -> None:
    packet = seal(SA, b"registration", 135, 1)
    at = data.draw(st.integers(0, len(packet) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = packet[:at] + bytes([packet[at] ^ bit]) + packet[at + 1 :]
    assert KEYS.open(LMA, changed) is None
    assert KEYS.open(LMA, packet[:at]) is None


def test_another_association_is_not_opened() -> None:
    packet = seal(SA, b"registration", 135, 1)
    assert KEYS.open(MAG, packet) is None
    assert EspKeys([SA._replace(spi=0x101)]).open(LMA, packet) is None
    assert EspKeys([SA._replace(key=bytes(36))]).open(LMA, packet) is None


def test_padding_longer_than_the_packet_is_not_opened() -> None:
    key, salt, iv = SA.key[:32], SA.key[32:], bytes(8)
    header = bytes.fromhex("0000010000000001")
    packet = header + iv + AESGCM(key).encrypt(salt + iv, b"ab\x05\x87", header)
    assert KEYS.open(LMA, packet) is None


def test_revealed_packet_is_the_one_before_protection() -> None:
    inner = ipv6_packet(MAG, LMA, 135, b"registration")
    outer = ipv6_packet(MAG, LMA, 50, seal(SA, b"registration", 135, 9))
    assert KEYS.reveal(outer) == inner
    for other in (inner, outer[:-1], outer[:39], b""):
        assert KEYS.reveal(other) == other


def test_keys_come_from_a_file(tmp_path: Path) -> None:
    write_keys(tmp_path / "esp_sa", [SA])
    keys = EspKeys.of_file(tmp_path / "esp_sa")
    assert keys.open(LMA, seal(SA, b"x", 135, 1)) == Opened(135, b"x")
