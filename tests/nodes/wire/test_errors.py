from __future__ import annotations

import pickle

import pytest

from nodes.wire.errors import (
    BadChecksum,
    BadPayloadProto,
    HeaderTooShort,
    MalformedMessage,
    UnknownType,
)


def test_error_names_field_offset_and_what_was_expected() -> None:
    error = MalformedMessage("mh_type", 2, "expected 5, found 6")
    assert str(error) == "mh_type at offset 2: expected 5, found 6"
    assert (error.field, error.offset, error.reason) == ("mh_type", 2, "expected 5, found 6")


@pytest.mark.parametrize("cls", [BadChecksum, BadPayloadProto, HeaderTooShort])
def test_cases_of_rfc6275_9_2_are_malformed_messages(cls: type[MalformedMessage]) -> None:
    assert issubclass(cls, MalformedMessage)
    assert issubclass(cls, ValueError)


def test_unknown_type_has_the_type_for_the_binding_error_rfc6275_9_2() -> None:
    error = UnknownType(21)
    assert (error.mh_type, error.offset) == (21, 2)


@pytest.mark.parametrize("error", [UnknownType(3), BadChecksum("checksum", 4, "expected 1")])
def test_errors_survive_pickling_between_processes(error: MalformedMessage) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
