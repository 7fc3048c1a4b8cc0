from __future__ import annotations

import os
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.ipsec.security_associations import (
    KEY_OCTETS,
    LEAST_SPI,
    MOST_SPI,
    SecurityAssociation,
    parse_table,
    read_keys,
    table,
    write_keys,
)
from nodes.strict import InputError

LMA, MAG = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:11::1")
SA = SecurityAssociation(MAG, LMA, 0x100, bytes(range(36)))
LINE = table([SA]).strip()
addresses = st.integers(0, 2**128 - 1).map(IPv6Address)
keys = st.sampled_from(KEY_OCTETS).flatmap(lambda size: st.binary(min_size=size, max_size=size))
associations = st.builds(
    SecurityAssociation, addresses, addresses, st.integers(LEAST_SPI, MOST_SPI), keys
)


@given(st.lists(associations, unique_by=lambda sa: (sa.destination, sa.spi)))
def test_what_is_written_is_read(found: list[SecurityAssociation]) -> None:
    assert parse_table(table(found), "f") == found


def test_file_of_wireshark_has_comments_and_blanks() -> None:
    assert parse_table(f"# made by hand\n\n{LINE},\n", "f") == [SA]


def test_new_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    before = os.umask(0)
    try:
        write_keys(path, [SA])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert read_keys(path) == [SA]
    with pytest.raises(FileExistsError):
        write_keys(path, [SA])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o700, 0o777])
def test_file_that_others_can_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys"
    write_keys(path, [SA])
    path.chmod(mode)
    with pytest.raises(InputError, match=rf"\(mode\) is '{mode:04o}'; expected 0600") as refused:
        read_keys(path)
    assert str(path) in str(refused.value)


def test_file_that_nobody_can_write_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    write_keys(path, [SA])
    path.chmod(0o400)
    assert read_keys(path) == [SA]


def test_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    write_keys(path, [SA])
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(InputError, match=rf"\(owner\) is {own}; expected .* {own + 1}"):
        read_keys(path)


def test_link_to_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").write_text(LINE)
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "keys").symlink_to(tmp_path / "open")
    with pytest.raises(InputError, match="mode"):
        read_keys(tmp_path / "keys")


def test_no_regular_file_is_refused() -> None:
    with pytest.raises(InputError, match="expected a regular file"):
        read_keys(Path(os.devnull))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"IPv6"', '"IPv4"', "line 1, protocol is 'IPv4'; expected IPv6"),
        ("2001:db8:11::1", "mag1", "line 1, source is 'mag1'; expected an IPv6 address"),
        ("2001:db8:10::1", "10.0.0.1", "line 1, destination"),
        ("0x00000100", "0x000000ff", "line 1, SPI is '0x000000ff'; expected 0x100 to"),
        ("0x00000100", "0x100000000", "line 1, SPI"),
        ("0x00000100", "spi", "line 1, SPI"),
        ("16 octet", "8 octet", "line 1, encryption"),
        ('"NULL"', '"HMAC-SHA-1-96 [RFC2404]"', "line 1, authentication"),
        (',""', "", "line 1 is '7 fields'; expected 8"),
        ("0x000102", "0x0102", "line 1, key is '35 octets'; expected 20, 28, 36"),
        ("0x000102", "0x00010z", "line 1, key is 'no hexadecimal number'"),
    ],
)
def test_bad_line_is_refused_without_showing_its_key(old: str, new: str, what: str) -> None:
    assert old in LINE
    with pytest.raises(InputError) as refused:
        parse_table(LINE.replace(old, new), "f")
    assert str(refused.value).startswith(f"f: {what}")
    assert SA.key[8:].hex() not in str(refused.value)


def test_spi_is_there_once_for_a_destination() -> None:
    """RFC 4301 section 4.1: SPI and destination say which association it is."""
    other = SA._replace(source=IPv6Address("2001:db8:12::1"))
    with pytest.raises(InputError, match="line 2, SPI"):
        parse_table(table([SA, other]), "f")
    assert len(parse_table(table([SA, SA._replace(destination=MAG)]), "f")) == 2
