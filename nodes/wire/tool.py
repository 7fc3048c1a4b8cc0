"""`flowmob decode` and `flowmob encode`: messages as hex or in captures, to JSON and back.

JSON lines have, besides the message: `checksum` as read; `source` and `destination` where known,
then also `checksum_valid`; and `time` and `frame` if they are from a capture. Encoding takes
`checksum` if it is there, or else computes it from `source` and `destination`, or else leaves 0.
Attachment messages (layer-2 signalling) have no checksum; their addresses are `link_source` and
`link_destination`, and what to tell them by is their first octet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nodes.wire.attachment import (
    FIRST_OCTET,
    AttachmentMessage,
    decode_attachment,
    encode_attachment,
)
from nodes.wire.capture import CapturedAttachment, CaptureError, is_capture, read_messages
from nodes.wire.codec import decode_without_addresses, encode, encode_without_addresses
from nodes.wire.errors import MalformedMessage
from nodes.wire.json_form import InvalidJson, Json, message_from_json, message_to_json
from nodes.wire.mobility_header import checksum, header_octets

if TYPE_CHECKING:
    from nodes.ipsec.esp import EspKeys

ErrorHandler = Callable[[str, ValueError], None]
Addresses = tuple[IPv6Address, IPv6Address]

_ENVELOPE = (
    *("frame", "time", "source", "destination", "checksum", "checksum_valid"),
    *("link_source", "link_destination"),
)


def _raise(_: str, error: ValueError) -> None:
    raise error


def decode_lines(
    lines: Iterable[str], addresses: Addresses | None = None, *, on_error: ErrorHandler = _raise
) -> Iterator[Json]:
    """One message per line, in hex; spaces and colons are ignored, so are empty lines and those
    that start with #. `on_error` gets where the error is ("line 3") and the error."""
    for number, line in enumerate(lines, 1):
        digits = line.strip()
        if not digits or digits.startswith("#"):
            continue
        try:
            yield _decoded(_octets(digits), addresses)
        except ValueError as error:
            on_error(f"line {number}", error)


def decode_capture(
    path: Path, *, keys: Path | None = None, on_error: ErrorHandler = _raise
) -> Iterator[Json]:
    """Every Mobility Header and every attachment message in a pcap or pcapng file; those in ESP as
    well that a file of `keys` is for. Raises InputError for that one."""
    try:
        for captured in read_messages(path, _esp_keys(keys)):
            frame = captured.frame
            try:
                if isinstance(captured, CapturedAttachment):
                    links = {
                        "link_source": captured.source,
                        "link_destination": captured.destination,
                    }
                    decoded = links | message_to_json(decode_attachment(captured.data))
                else:
                    decoded = _decoded(captured.data, (captured.source, captured.destination))
            except MalformedMessage as error:
                on_error(f"frame {frame.number}", error)
                continue
            yield {"frame": frame.number, **_time(frame.time_ns), **decoded}
    except CaptureError as error:
        on_error(str(path), error)


def _esp_keys(path: Path | None) -> EspKeys | None:
    if path is None:
        return None
    # Not needed otherwise, and large.
    from nodes.ipsec.esp import EspKeys

    return EspKeys.of_file(path)


def encode_lines(
    lines: Iterable[str], addresses: Addresses | None = None, *, on_error: ErrorHandler = _raise
) -> Iterator[str]:
    """Hex of one JSON object per line. `addresses` go before those in the object, and its checksum
    is computed anew then."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _encoded(json.loads(line), addresses).hex()
        except (json.JSONDecodeError, RecursionError) as error:
            on_error(f"line {number}", InvalidJson("", line.strip(), f"JSON: {error}"))
        except ValueError as error:
            on_error(f"line {number}", error)


def _octets(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits.replace(":", ""))
    except ValueError:
        raise MalformedMessage("hex", 0, "expected pairs of hexadecimal digits") from None


def _time(time_ns: int | None) -> Json:
    if time_ns is None:
        return {}
    # A string, because a float has no room for the nanoseconds.
    return {"time": f"{time_ns // 1_000_000_000}.{time_ns % 1_000_000_000:09}"}


def _decoded(data: bytes, addresses: Addresses | None) -> Json:
    if data[:1] == bytes((FIRST_OCTET,)):
        return message_to_json(decode_attachment(data))
    message = decode_without_addresses(data)
    data = data[: header_octets(data)]
    envelope: Json = {}
    if addresses is not None:
        envelope["source"], envelope["destination"] = map(str, addresses)
    envelope["checksum"] = f"0x{data[4:6].hex()}"
    if addresses is not None:
        # Shown, not refused: who looks at captures wants to see the message.
        envelope["checksum_valid"] = checksum(data, *addresses) == 0
    return envelope | message_to_json(message)


def _encoded(value: Any, addresses: Addresses | None) -> bytes:
    if not isinstance(value, dict):
        raise InvalidJson("", value, "an object")
    message = message_from_json({k: v for k, v in value.items() if k not in _ENVELOPE})
    if isinstance(message, AttachmentMessage):
        return encode_attachment(message)
    if addresses is None and "checksum" in value:
        return encode_without_addresses(message, _checksum(value["checksum"]))
    if addresses is None and ("source" in value or "destination" in value):
        addresses = (_address(value, "source"), _address(value, "destination"))
    if addresses is None:
        return encode_without_addresses(message)
    return encode(message, *addresses)


def _checksum(value: object) -> int:
    try:
        number = int(value, 16) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= 0xFFFF:
        raise InvalidJson("checksum", value, "0x0000 to 0xffff")
    return number


def _address(value: Json, key: str) -> IPv6Address:
    try:
        return IPv6Address(str(value.get(key)))
    except ValueError:
        raise InvalidJson(key, value.get(key), "an IPv6 address") from None


class _Complaints:
    """Prints errors to stderr and remembers that there were some."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix, self.status = prefix, 0

    def __call__(self, where: str, error: ValueError) -> None:
        self.status = 1
        print(f"{self.prefix}{where}: {error}", file=sys.stderr)


def _parser(command: str, description: str, what: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"flowmob {command}", description=description)
    parser.add_argument("input", nargs="*", help=what)
    addresses = "for the checksum; both or none"
    parser.add_argument("--source", type=IPv6Address, metavar="ADDRESS", help=addresses)
    parser.add_argument("--destination", type=IPv6Address, metavar="ADDRESS", help=addresses)
    return parser


def _addresses(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Addresses | None:
    if (options.source is None) != (options.destination is None):
        parser.error("--source and --destination go together")
    return None if options.source is None else (options.source, options.destination)


def _inputs(given: Sequence[str]) -> Iterator[tuple[str, Path | None, Iterable[str]]]:
    """What to read: a prefix for complaints, the path if it is a file, and the lines if not.

    Arguments that aren't files are lines themselves, numbered in their order.
    """
    if not given:
        yield "", None, sys.stdin
        return
    paths = [Path(item) for item in given if _is_file(item)]
    lines = [item for item in given if not _is_file(item)]
    if lines:
        yield "", None, lines
    for path in paths:
        yield f"{path}: ", path, ()


def _is_file(item: str) -> bool:
    try:
        return Path(item).is_file()
    except (OSError, ValueError):  # too long for a file name, for example
        return False


def main_decode(argv: Sequence[str]) -> int:
    parser = _parser(
        "decode",
        "Decode Mobility Header and attachment messages to one JSON object a line.",
        "hex of a message, a file with such lines, or a pcap or pcapng file; default: lines of "
        "standard input",
    )
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="of ESP in captures, as Wireshark's esp_sa: that of a run with protected signalling",
    )
    options = parser.parse_args(argv)
    addresses = _addresses(parser, options)
    status = 0
    for prefix, path, lines in _inputs(options.input):
        complaints = _Complaints(prefix)
        if path is not None and is_capture(path):
            decoded = decode_capture(path, keys=options.keys, on_error=complaints)
        else:
            source = lines if path is None else _text_lines(path)
            decoded = decode_lines(source, addresses, on_error=complaints)
        for item in decoded:
            print(json.dumps(item))
        status |= complaints.status
    return status


def main_encode(argv: Sequence[str]) -> int:
    parser = _parser(
        "encode",
        "Encode JSON objects, as decode prints them, to messages in hex.",
        "a JSON object, or a file with one a line; default: lines of standard input",
    )
    options = parser.parse_args(argv)
    addresses = _addresses(parser, options)
    status = 0
    for prefix, path, lines in _inputs(options.input):
        complaints = _Complaints(prefix)
        source = lines if path is None else _text_lines(path)
        for item in encode_lines(source, addresses, on_error=complaints):
            print(item)
        status |= complaints.status
    return status


def _text_lines(path: Path) -> list[str]:
    """Octets that aren't text are kept as something that no line may contain."""
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
