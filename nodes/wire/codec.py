"""Messages to octets and back."""

from __future__ import annotations

from ipaddress import IPv6Address

# Importing the options registers their codecs.
from nodes.wire import options as _options  # noqa: F401
from nodes.wire.errors import MalformedMessage, UnknownType
from nodes.wire.messages import DECODERS, REVOCATION_DECODERS, Message
from nodes.wire.mobility_header import (
    checksum,
    finish,
    header_octets,
    require_checksum,
    require_no_next_header,
)
from nodes.wire.tlv import ENCODERS
from nodes.wire.values import MobilityHeaderType

_DATA = 6  # where message data begins
_REVOCATION = int(MobilityHeaderType.BINDING_REVOCATION)


def encode(message: Message, source: IPv6Address, destination: IPv6Address) -> bytes:
    """The Mobility Header, with the least padding that the alignment of the options needs."""
    out = bytearray()
    ENCODERS[type(message)](message, out)
    finish(out)
    out[4:6] = checksum(out, source, destination).to_bytes(2, "big")
    return bytes(out)


def encode_without_addresses(message: Message, checksum: int = 0) -> bytes:
    """The same with the checksum as given: it can't be computed without addresses. 0 is what a
    message in UDP over IPv4 has (RFC 5844 section 4.2.2.1)."""
    out = bytearray()
    ENCODERS[type(message)](message, out)
    finish(out)
    out[4:6] = checksum.to_bytes(2, "big")
    return bytes(out)


def decode(
    data: bytes, source: IPv6Address, destination: IPv6Address, *, verify_checksum: bool = True
) -> Message:
    """Raises MalformedMessage, of the subclass that RFC 6275 section 9.2 has for the case.

    Options may come in any order and with any padding.
    """
    end = header_octets(data)
    if len(data) != end:
        data = data[:end]
    if verify_checksum:
        require_checksum(data, source, destination)
    return _decode(data, end)


def decode_without_addresses(data: bytes) -> Message:
    """The same without a look at the checksum."""
    end = header_octets(data)
    return _decode(data[:end], end)


def _decode(data: bytes, end: int) -> Message:
    mh_type = data[2]
    if mh_type == _REVOCATION:
        decoder = REVOCATION_DECODERS.get(data[_DATA])
        if decoder is None:
            require_no_next_header(data)
            reason = f"expected 1 or 2, found {data[_DATA]}"
            raise MalformedMessage("revocation_type", _DATA, reason)
    else:
        decoder = DECODERS.get(mh_type)
        if decoder is None:
            raise UnknownType(mh_type)
    require_no_next_header(data)
    message: Message = decoder(data, _DATA, end)
    return message
