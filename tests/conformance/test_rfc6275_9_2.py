"""RFC 6275 section 9.2, checks of any Mobility Header: one test a rule. What becomes of a message
that fails one is tested over sockets."""

from __future__ import annotations

import pytest

from nodes.wire.codec import decode, encode
from nodes.wire.errors import BadChecksum, BadPayloadProto, HeaderTooShort, UnknownType
from nodes.wire.messages import Heartbeat, Message, UpdateNotification
from tests.conformance.headers import DESTINATION, EVERY_KIND, SOURCE, changed

KNOWN = {5, 6, 7, 13, 16, 19, 20}


def test_rfc6275_9_2_01_the_checks_are_made_in_order() -> None:
    """Of several faults, the first decides: nothing is answered to a broken checksum."""
    octets = bytearray(encode(Heartbeat(1, response=False), SOURCE, DESTINATION))
    octets[0], octets[1], octets[2] = 17, 0, 0xF0
    with pytest.raises(BadChecksum):
        decode(bytes(octets), SOURCE, DESTINATION)
    with pytest.raises(UnknownType):
        decode(changed(Heartbeat(1, response=False), {0: 17, 2: 0xF0}), SOURCE, DESTINATION)
    with pytest.raises(BadPayloadProto):
        decode(changed(UpdateNotification(1, 8), {0: 17, 1: 0}), SOURCE, DESTINATION)


def test_rfc6275_9_2_03_other_types_are_unknown() -> None:
    message = Heartbeat(1, response=False)
    for mh_type in range(256):
        if mh_type not in KNOWN:
            with pytest.raises(UnknownType):
                decode(changed(message, {2: mh_type}), SOURCE, DESTINATION)
    for known in EVERY_KIND:
        assert encode(known, SOURCE, DESTINATION)[2] in KNOWN
        assert decode(encode(known, SOURCE, DESTINATION), SOURCE, DESTINATION) == known


@pytest.mark.parametrize("message", EVERY_KIND, ids=lambda message: type(message).__name__)
def test_rfc6275_9_2_05_no_header_follows(message: Message) -> None:
    assert encode(message, SOURCE, DESTINATION)[0] == 59
    for protocol in (0, 17, 58, 60, 255):
        with pytest.raises(BadPayloadProto) as caught:
            decode(changed(message, {0: protocol}), SOURCE, DESTINATION)
        assert caught.value.offset == 0


@pytest.mark.parametrize(
    ("message", "least"), list(zip(EVERY_KIND, (1, 1, 2, 1, 1, 1, 1, 1), strict=True))
)
def test_rfc6275_9_2_08_the_header_is_as_long_as_its_type_takes(
    message: Message, least: int
) -> None:
    """`least` is what Header Len is without options."""
    assert encode(message, SOURCE, DESTINATION)[1] == least
    with pytest.raises(HeaderTooShort) as caught:
        decode(changed(message, {1: least - 1}), SOURCE, DESTINATION)
    assert caught.value.offset == 1
