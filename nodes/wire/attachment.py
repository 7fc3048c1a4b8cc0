"""Layer-2 signalling between mobile node and MAG: attachment messages in Ethernet frames.

RFC 5213 section 6.9.1.1 and RFC 7864 section 3.2.1 presume that a MAG learns of an attachment, of
its kind and of the session that it continues, and leave open how. Here it learns it from these
messages: `docs/layer-2-signalling.md`. They have the shape of a Mobility Header, so that mobility
options and their alignment are the same, but no checksum, because an Ethernet frame has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

# Importing the options registers their codecs.
from nodes.wire import options as _options  # noqa: F401
from nodes.wire.compiler import MESSAGE_START, compile_format
from nodes.wire.errors import MalformedMessage
from nodes.wire.layout import Layout, flag, options, reserved, uint
from nodes.wire.messages import REJECTED, Message
from nodes.wire.mobility_header import finish, header_octets
from nodes.wire.tlv import ENCODERS, Decoder, Option
from nodes.wire.values import ProxyBindingStatus

ETHERTYPE = 0x88B5  # IEEE Std 802: Local Experimental Ethertype 1
# Format and version. A Mobility Header never begins so: there it is 59 (no next header).
FIRST_OCTET = 0xA1
MOST_OCTETS = 1496  # the most whole units of 8 octets in the payload of an Ethernet frame
SECTION = "docs/layer-2-signalling.md"

A = TypeVar("A", bound="AttachmentMessage")
ATTACHMENT_DECODERS: dict[int, Decoder] = {}
ATTACHMENT_CLASSES: dict[str, type[AttachmentMessage]] = {}


class AttachmentType(IntEnum):
    ATTACHMENT_REQUEST = 1
    ATTACHMENT_ANSWER = 2


class AttachmentMessage(Message):
    __slots__ = ()


def _message(layout: Layout) -> Callable[[type[A]], type[A]]:
    def register(cls: type[A]) -> type[A]:
        ATTACHMENT_DECODERS[layout.code] = compile_format(
            cls, layout, is_message=True, first_octet=FIRST_OCTET
        )
        ATTACHMENT_CLASSES[cls.__name__] = cls
        return cls

    return register


@_message(
    Layout(
        AttachmentType.ATTACHMENT_REQUEST,
        SECTION,
        (uint("sequence", 16), flag("detach", "D"), reserved(15), options()),
    )
)
@dataclass(frozen=True, slots=True)
class AttachmentRequest(AttachmentMessage):
    """From the mobile node. Its options are the mobile node identifier and, unless it detaches,
    handoff indicator, access technology type and the prefixes of the session that the attachment
    shares or continues, if the node knows them."""

    sequence: int
    options: tuple[Option, ...] = ()
    detach: bool = False


@_message(
    Layout(
        AttachmentType.ATTACHMENT_ANSWER,
        SECTION,
        (
            uint("sequence", 16),
            flag("detach", "D"),
            reserved(7),
            uint("status", 8, values=ProxyBindingStatus),
            options(),
        ),
    )
)
@dataclass(frozen=True, slots=True)
class AttachmentAnswer(AttachmentMessage):
    """From the MAG, once the LMA has answered, with the LMA's status and the prefixes of the
    session; what the MAG refuses itself has the status that an LMA would refuse it with."""

    sequence: int
    status: int
    options: tuple[Option, ...] = ()
    detach: bool = False

    @property
    def accepted(self) -> bool:
        return self.status < REJECTED


def encode_attachment(message: AttachmentMessage) -> bytes:
    """The payload of the frame. Raises ValueError if it takes more than MOST_OCTETS."""
    out = bytearray()
    ENCODERS[type(message)](message, out)
    finish(out)
    if len(out) > MOST_OCTETS:
        raise ValueError(f"the message takes {len(out)} octets; expected at most {MOST_OCTETS}")
    return bytes(out)


def decode_attachment(data: bytes) -> AttachmentMessage:
    """The message at the start of a frame's payload: a short frame is padded behind it. Raises
    MalformedMessage."""
    end = header_octets(data)
    if data[0] != FIRST_OCTET:
        raise MalformedMessage("format", 0, f"expected {FIRST_OCTET:#04x}, found {data[0]:#04x}")
    decoder = ATTACHMENT_DECODERS.get(data[2])
    if decoder is None:
        known = " or ".join(str(code) for code in ATTACHMENT_DECODERS)
        raise MalformedMessage("type", 2, f"expected {known}, found {data[2]}")
    message: AttachmentMessage = decoder(data[:end], MESSAGE_START, end)
    return message
