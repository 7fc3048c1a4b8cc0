"""How a wire format is described: fields in the order of the wire, as data that can be walked.

The names of the fields are the attribute names of the class that has the layout, and the keys of
its JSON. Reserved fields are set to zero by the sender and ignored by the receiver, everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Kind(Enum):
    UINT = "unsigned integer"
    FLAG = "one bit"
    TIMESTAMP = "48 bits of seconds since 1970, 16 bits of 1/65536 s"
    IPV6 = "IPv6 address"
    IPV4 = "IPv4 address"
    RESERVED = "zero"
    CONSTANT = "the value that tells this format from others of the same type"
    PRESENCE = "a bit for each optional field that follows"
    # The kinds below take what is left of the format, so a layout has one at most, at its end.
    BYTES = "octets"
    TEXT = "octets that are text most of the time"
    ADDRESS = "nothing, an IPv4 address or an IPv6 address"
    UINT16_LIST = "16-bit unsigned integers"
    OPTIONS = "mobility options"
    SUB_OPTIONS = "flow identification sub-options"


TAIL_KINDS = frozenset(
    (Kind.BYTES, Kind.TEXT, Kind.ADDRESS, Kind.UINT16_LIST, Kind.OPTIONS, Kind.SUB_OPTIONS)
)
UNNAMED_KINDS = frozenset((Kind.RESERVED, Kind.CONSTANT, Kind.PRESENCE))


@dataclass(frozen=True, slots=True)
class Field:
    """`bits` is 0 for the kinds that take what is left. `letter` is the RFC's name of a bit.

    `present` is the bit of the presence word (32 bits) that says whether an optional field is
    there, `mask` what counts of its value. `sizes` are the octets a tail may have, if not any
    number; `minimum` is for a list the least number of elements.
    """

    name: str
    kind: Kind
    bits: int = 0
    minimum: int = 0
    maximum: int = 0
    values: type[IntEnum] | None = None
    letter: str = ""
    constant: int = 0
    present: int = 0
    mask: int = 0
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Alignment:
    """RFC 6275 section 6.2.1: the format starts `step`n + `offset` octets into the header."""

    step: int = 1
    offset: int = 0

    def padding(self, position: int) -> int:
        """How many octets of padding bring `position` to the next aligned place."""
        return (self.offset - position) % self.step

    def __str__(self) -> str:
        return f"{self.step}n+{self.offset}" if self.offset else f"{self.step}n"


@dataclass(frozen=True, slots=True)
class Layout:
    """`code` is the type octet; `section` is where the format is defined.

    `tail_alignments`: (m, alignment) pairs, of which the first holds whose m divides the length of
    a tail that isn't empty. `alignment` holds otherwise.
    """

    code: int
    section: str
    fields: tuple[Field, ...]
    alignment: Alignment = Alignment()
    tail_alignments: tuple[tuple[int, Alignment], ...] = ()

    @property
    def named_fields(self) -> tuple[Field, ...]:
        """Those that the class has attributes for."""
        return tuple(field for field in self.fields if field.kind not in UNNAMED_KINDS)

    @property
    def tail(self) -> Field | None:
        last = self.fields[-1] if self.fields else None
        return last if last is not None and last.kind in TAIL_KINDS else None

    @property
    def fixed_octets(self) -> int:
        """Octets before the tail, optional fields not counted."""
        return sum(field.bits for field in self.fields if not field.present) // 8

    def alignment_for(self, tail_octets: int) -> Alignment:
        if tail_octets:
            for multiple, alignment in self.tail_alignments:
                if tail_octets % multiple == 0:
                    return alignment
        return self.alignment


def uint(
    name: str,
    bits: int,
    *,
    minimum: int = 0,
    maximum: int | None = None,
    values: type[IntEnum] | None = None,
) -> Field:
    largest = (1 << bits) - 1 if maximum is None else maximum
    return Field(name, Kind.UINT, bits, minimum, largest, values)


def flag(name: str, letter: str) -> Field:
    return Field(name, Kind.FLAG, 1, letter=letter)


def timestamp(name: str) -> Field:
    return Field(name, Kind.TIMESTAMP, 64, maximum=(1 << 64) - 1)


def ipv6(name: str) -> Field:
    return Field(name, Kind.IPV6, 128)


def reserved(bits: int) -> Field:
    return Field("reserved", Kind.RESERVED, bits)


def constant(name: str, bits: int, value: int) -> Field:
    return Field(name, Kind.CONSTANT, bits, constant=value)


def octets(name: str) -> Field:
    return Field(name, Kind.BYTES)


def text(name: str) -> Field:
    return Field(name, Kind.TEXT)


def address(name: str, *, optional: bool) -> Field:
    return Field(name, Kind.ADDRESS, sizes=(0, 4, 16) if optional else (4, 16))


def uint16_list(name: str) -> Field:
    return Field(name, Kind.UINT16_LIST, minimum=1, maximum=0xFFFF)


def options() -> Field:
    return Field("options", Kind.OPTIONS)


def sub_options() -> Field:
    return Field("sub_options", Kind.SUB_OPTIONS)
