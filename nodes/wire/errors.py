"""What goes wrong with octets that came from elsewhere: MalformedMessage and nothing else.

The subclasses are the cases that RFC 6275 section 9.2 wants answered, or discarded, differently.
"""

from __future__ import annotations


class MalformedMessage(ValueError):
    """A message breaks its format. The receiver discards it.

    `offset` counts octets from the start of the Mobility Header (or of the ICMPv6 message).
    """

    def __init__(self, field: str, offset: int, reason: str) -> None:
        self.field, self.offset, self.reason = field, offset, reason
        super().__init__(f"{field} at offset {offset}: {reason}")

    def __reduce__(self) -> tuple[type[MalformedMessage], tuple[str, int, str]]:
        return type(self), (self.field, self.offset, self.reason)


class BadChecksum(MalformedMessage):
    """To be discarded silently."""


class UnknownType(MalformedMessage):
    """To be discarded and answered with a Binding Error of status 2 (unrecognized MH Type)."""

    def __init__(self, mh_type: int) -> None:
        self.mh_type = mh_type
        super().__init__("mh_type", 2, f"expected a known MH Type, found {mh_type}")

    def __reduce__(self) -> tuple[type[UnknownType], tuple[int]]:  # type: ignore[override]
        return type(self), (self.mh_type,)


class BadPayloadProto(MalformedMessage):
    """To be discarded; ICMPv6 Parameter Problem, code 0, pointing at `offset`, SHOULD be sent."""


class HeaderTooShort(MalformedMessage):
    """To be discarded; ICMPv6 Parameter Problem, code 0, pointing at `offset`, SHOULD be sent."""
