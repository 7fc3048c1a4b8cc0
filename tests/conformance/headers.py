"""Mobility Headers with faults, for rules about what receivers check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from nodes.wire.codec import decode, encode
from nodes.wire.errors import BadChecksum, BadPayloadProto, HeaderTooShort
from nodes.wire.messages import (
    BindingError,
    BindingRevocationAcknowledgement,
    BindingRevocationIndication,
    Heartbeat,
    Message,
    ProxyBindingAcknowledgement,
    ProxyBindingUpdate,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
)
from nodes.wire.mobility_header import checksum
from nodes.wire.options import UnknownOption

SOURCE, DESTINATION = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
EVERY_KIND: tuple[Message, ...] = (
    ProxyBindingUpdate(1, 900),
    ProxyBindingAcknowledgement(0, 1, 900),
    BindingError(1),
    Heartbeat(1, response=False),
    BindingRevocationIndication(1, 2),
    BindingRevocationAcknowledgement(0, 2),
    UpdateNotification(1, 8),
    UpdateNotificationAcknowledgement(1, 0),
)


def changed(message: Message, octets: Mapping[int, int]) -> bytes:
    """`message` with other `octets`, by offset: as long as Header Len then says, and with the
    checksum that is right for it."""
    data = bytearray(encode(message, SOURCE, DESTINATION))
    for offset, value in octets.items():
        data[offset] = value
    del data[8 * (data[1] + 1) :]
    data[4:6] = bytes(2)
    data[4:6] = checksum(bytes(data), SOURCE, DESTINATION).to_bytes(2, "big")
    return bytes(data)


def check_header(message: Message) -> None:
    """What RFC 6275 section 9.2 has checked of every message is checked of this kind."""
    broken = bytearray(encode(message, SOURCE, DESTINATION))
    broken[4] ^= 1
    with pytest.raises(BadChecksum):
        decode(bytes(broken), SOURCE, DESTINATION)
    with pytest.raises(BadPayloadProto):
        decode(changed(message, {0: 17}), SOURCE, DESTINATION)
    with pytest.raises(HeaderTooShort):
        decode(changed(message, {1: 0}), SOURCE, DESTINATION)


def check_unknown_option(message: Message) -> None:
    """One that nobody knows is skipped: the known ones around it are found."""
    known = message.options
    assert known
    with_unknown = (known[0], UnknownOption(0xF7, b"whatever"), *known[1:])
    octets = encode(replace(message, options=with_unknown), SOURCE, DESTINATION)
    assert decode(octets, SOURCE, DESTINATION).options == with_unknown


def check_reserved(message: Message, places: Mapping[int, int]) -> None:
    """`places`: offsets with the mask of their reserved bits. They are sent as zero, and what is
    received in them changes nothing."""
    octets = encode(message, SOURCE, DESTINATION)
    assert not any(octets[place] & mask for place, mask in places.items())
    noisy = changed(message, {place: octets[place] | mask for place, mask in places.items()})
    assert noisy != octets
    assert decode(noisy, SOURCE, DESTINATION) == message
