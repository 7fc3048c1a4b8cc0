from __future__ import annotations

import io
import json
import struct
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.wire.codec import encode
from nodes.wire.errors import MalformedMessage
from nodes.wire.json_form import InvalidJson
from nodes.wire.messages import Heartbeat, ProxyBindingUpdate
from nodes.wire.tool import decode_capture, decode_lines, encode_lines, main_decode, main_encode

MAG, LMA = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
HEARTBEAT = encode(Heartbeat(77), MAG, LMA).hex()
UPDATE = encode(ProxyBindingUpdate(1, 300), MAG, LMA).hex()


def write_capture(path: Path, *messages: bytes) -> Path:
    file = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for number, data in enumerate(messages):
        packet = struct.pack(">IHBB", 6 << 28, len(data), 135, 64) + MAG.packed + LMA.packed + data
        file += struct.pack("<IIII", 1_700_000_000 + number, 5, len(packet), len(packet)) + packet
    path.write_bytes(file)
    return path


@given(st.data())
def test_decode_then_encode_gives_back_the_octets(messages: Any, data: st.DataObject) -> None:
    text = encode(data.draw(messages), MAG, LMA).hex()
    decoded = [json.dumps(item) for item in decode_lines([text])]
    assert list(encode_lines(decoded)) == [text]
    with_addresses = [json.dumps(item) for item in decode_lines([text], (MAG, LMA))]
    assert list(encode_lines(with_addresses)) == [text]


def test_lines_may_have_spaces_colons_comments_and_blanks() -> None:
    spaced = " ".join(HEARTBEAT[i : i + 8] for i in range(0, len(HEARTBEAT), 8))
    colons = ":".join(HEARTBEAT[i : i + 2] for i in range(0, len(HEARTBEAT), 2))
    lines = ["# heartbeat\n", "\n", spaced + "\n", colons.upper()]
    assert [item["sequence"] for item in decode_lines(lines)] == [77, 77]


def test_checksum_is_shown_as_read_and_verified_where_addresses_are_known() -> None:
    (plain,) = decode_lines([HEARTBEAT])
    assert plain["checksum"] == f"0x{HEARTBEAT[8:12]}"
    assert "checksum_valid" not in plain
    (good,) = decode_lines([HEARTBEAT], (MAG, LMA))
    (bad,) = decode_lines([HEARTBEAT], (MAG, MAG))
    assert (good["checksum_valid"], bad["checksum_valid"]) == (True, False)


@pytest.mark.parametrize(
    ("envelope", "addresses", "checksum"),
    [
        ({"checksum": "0x1234"}, None, "1234"),
        ({"checksum": 4660}, None, "1234"),
        ({}, None, "0000"),
        ({"source": str(MAG), "destination": str(LMA)}, None, HEARTBEAT[8:12]),
        ({"checksum": 1, "source": str(MAG), "destination": str(LMA)}, None, "0001"),
        ({"checksum": 1}, (MAG, LMA), HEARTBEAT[8:12]),
    ],
)
def test_checksum_comes_from_the_object_or_the_addresses(
    envelope: dict[str, Any], addresses: tuple[IPv6Address, IPv6Address] | None, checksum: str
) -> None:
    line = json.dumps({"message": "Heartbeat", "sequence": 77, **envelope})
    (text,) = encode_lines([line], addresses)
    assert text == HEARTBEAT[:8] + checksum + HEARTBEAT[12:]


def test_capture_gives_time_frame_and_addresses(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "c.pcap", bytes.fromhex(HEARTBEAT), bytes.fromhex(UPDATE))
    first, second = decode_capture(path)
    assert first["time"] == "1700000000.000005000"
    assert (first["frame"], second["frame"]) == (1, 2)
    assert (first["source"], first["destination"]) == (str(MAG), str(LMA))
    assert first["checksum_valid"] is True
    assert second["message"] == "ProxyBindingUpdate"
    lines = [json.dumps(first), json.dumps(second)]
    assert list(encode_lines(lines)) == [HEARTBEAT, UPDATE]


def test_errors_are_raised_where_nobody_takes_them() -> None:
    with pytest.raises(MalformedMessage):
        list(decode_lines(["3b"]))
    with pytest.raises(InvalidJson):
        list(encode_lines(["{}"]))


def run(main: Any, *argv: str, text: str = "", monkeypatch: Any, capsys: Any) -> Any:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    status = main(argv)
    return status, *capsys.readouterr()


def test_decode_reads_standard_input(monkeypatch: Any, capsys: Any) -> None:
    status, out, err = run(
        main_decode, text=HEARTBEAT + "\n", monkeypatch=monkeypatch, capsys=capsys
    )
    assert (status, err) == (0, "")
    assert json.loads(out)["message"] == "Heartbeat"


def test_decode_names_line_field_and_offset_and_goes_on(monkeypatch: Any, capsys: Any) -> None:
    text = f"zz\n{HEARTBEAT}\n3b00150000000000\n{UPDATE}\n"
    status, out, err = run(main_decode, text=text, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 1
    assert [json.loads(line)["message"] for line in out.splitlines()] == [
        "Heartbeat",
        "ProxyBindingUpdate",
    ]
    assert err.splitlines() == [
        "line 1: hex at offset 0: expected pairs of hexadecimal digits",
        "line 3: mh_type at offset 2: expected a known MH Type, found 21",
    ]


def test_decode_takes_hex_text_files_and_captures(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    capture = write_capture(tmp_path / "c.pcap", bytes.fromhex(HEARTBEAT), b"\x3b" + bytes(7))
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{UPDATE}\nxyz\n")
    argv = (HEARTBEAT, str(capture), str(lines))
    status, out, err = run(main_decode, *argv, monkeypatch=monkeypatch, capsys=capsys)
    assert status == 1
    assert len(out.splitlines()) == 3
    assert err.splitlines() == [
        f"{capture}: frame 2: mh_type at offset 2: expected a known MH Type, found 0",
        f"{lines}: line 2: hex at offset 0: expected pairs of hexadecimal digits",
    ]


def test_decode_of_a_damaged_capture(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    path = write_capture(tmp_path / "c.pcap", bytes.fromhex(HEARTBEAT))
    path.write_bytes(path.read_bytes() + b"\0")
    status, out, err = run(main_decode, str(path), monkeypatch=monkeypatch, capsys=capsys)
    assert (status, len(out.splitlines())) == (1, 1)
    assert "expected a packet header of 16 octets" in err


def test_encode_names_line_and_path_and_goes_on(monkeypatch: Any, capsys: Any) -> None:
    (good,) = decode_lines([HEARTBEAT])
    text = "\n".join(
        [
            "{",
            "",
            "[]",
            json.dumps(good),
            json.dumps({**good, "checksum": "0x1ffff"}),
            json.dumps({"message": "Heartbeat", "sequence": 1, "source": "x"}),
            json.dumps({"message": "Heartbeat", "sequence": -1}),
        ]
    )
    status, out, err = run(main_encode, text=text, monkeypatch=monkeypatch, capsys=capsys)
    assert (status, out) == (1, HEARTBEAT + "\n")
    complaints = err.splitlines()
    assert [line.split(":")[0] for line in complaints] == [f"line {n}" for n in (1, 3, 5, 6, 7)]
    assert "checksum is '0x1ffff'; expected 0x0000 to 0xffff" in complaints[2]
    assert "source is 'x'; expected an IPv6 address" in complaints[3]
    assert "sequence is -1; expected an integer from 0 to 4294967295" in complaints[4]


def test_encode_takes_objects_and_files(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    path = tmp_path / "lines.json"
    path.write_text(json.dumps({"message": "Heartbeat", "sequence": 77}) + "\n")
    argv = ("--source", str(MAG), "--destination", str(LMA), str(path))
    status, out, _ = run(main_encode, *argv, monkeypatch=monkeypatch, capsys=capsys)
    assert (status, out) == (0, HEARTBEAT + "\n")
    argv = (json.dumps({"message": "Heartbeat", "sequence": 1}),)
    status, out, _ = run(main_encode, *argv, monkeypatch=monkeypatch, capsys=capsys)
    assert (status, out[:8]) == (0, "3b010d00")


@pytest.mark.parametrize("main", [main_decode, main_encode])
def test_one_address_alone_is_a_usage_error(main: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--source", "::1"])
    assert caught.value.code == 2
    assert "go together" in capsys.readouterr().err


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_lines_are_decoded_or_complained_about(lines: list[str]) -> None:
    errors: list[ValueError] = []
    for _ in decode_lines(lines, on_error=lambda _, error: errors.append(error)):
        pass
    for _ in encode_lines(lines, on_error=lambda _, error: errors.append(error)):
        pass
    assert all(str(error) for error in errors)
