from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.wire.codec import decode_without_addresses
from nodes.wire.json_form import InvalidJson, message_from_json, message_to_json
from nodes.wire.messages import Heartbeat, ProxyBindingUpdate, UpdateNotification
from nodes.wire.options import (
    BindingIdentifier,
    HandoffIndicator,
    MobileNodeIdentifier,
    UnknownOption,
)

FLOW = bytes.fromhex(
    "3b051300866b000700088000080c016d6e31406578616d706c65010016128040"
    "20010db8000100000000000000000000"
)
FLOW_JSON: dict[str, Any] = {
    "message": "UpdateNotification",
    "sequence": 7,
    "reason": {"value": 8, "name": "FLOW_MOBILITY"},
    "acknowledge": True,
    "retransmit": False,
    "options": [
        {
            "option": "MobileNodeIdentifier",
            "subtype": {"value": 1, "name": "NAI"},
            "identifier": "mn1@example",
        },
        {
            "option": "HomeNetworkPrefix",
            "off_link": True,
            "prefix_length": 64,
            "address": "2001:db8:1::",
        },
    ],
}


def test_flow_mobility_initiate_rfc7864_4_2() -> None:
    message = decode_without_addresses(FLOW)
    assert message_to_json(message) == FLOW_JSON
    assert list(message_to_json(message)) == list(FLOW_JSON)
    assert message_from_json(FLOW_JSON) == message


@given(st.data())
def test_json_inverts(messages: Any, data: st.DataObject) -> None:
    message = data.draw(messages)
    assert message_from_json(json.loads(json.dumps(message_to_json(message)))) == message


@pytest.mark.parametrize(
    "reason", [8, "FLOW_MOBILITY", {"value": 8}, {"name": "FLOW_MOBILITY"}, FLOW_JSON["reason"]]
)
def test_enumerated_value_by_number_name_or_both(reason: Any) -> None:
    message = message_from_json({**FLOW_JSON, "reason": reason})
    assert isinstance(message, UpdateNotification)
    assert message.reason == 8


def test_enumerated_value_without_a_name_is_a_number() -> None:
    form = message_to_json(ProxyBindingUpdate(1, 1, (HandoffIndicator(200),)))
    assert form["options"] == [{"option": "HandoffIndicator", "hint": {"value": 200}}]
    assert message_from_json(form) == ProxyBindingUpdate(1, 1, (HandoffIndicator(200),))


def test_missing_fields_take_their_defaults() -> None:
    assert message_from_json({"message": "Heartbeat", "sequence": 1}) == Heartbeat(1)


def test_identifier_that_is_not_text_is_hex() -> None:
    message = ProxyBindingUpdate(1, 1, (MobileNodeIdentifier(b"\xff\x00", 5),))
    form = message_to_json(message)
    assert form["options"][0]["identifier"] == {"hex": "ff00"}
    assert message_from_json(form) == message


def test_unknown_option_is_hex() -> None:
    form = message_to_json(Heartbeat(1, options=(UnknownOption(250, b"\x01\xab"),)))
    assert form["options"] == [{"option": "UnknownOption", "type": 250, "data": "01ab"}]


def test_field_that_is_not_there_is_left_out() -> None:
    form = message_to_json(Heartbeat(1, options=(BindingIdentifier(1),)))
    assert "care_of_address" not in form["options"][0]
    form["options"][0]["care_of_address"] = None
    assert message_from_json(form) == Heartbeat(1, options=(BindingIdentifier(1),))


def with_option(**changes: Any) -> dict[str, Any]:
    prefix = {**FLOW_JSON["options"][1], **changes}
    return {**FLOW_JSON, "options": [FLOW_JSON["options"][0], prefix]}


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ([], r"message is \[\]; expected an object"),
        ({}, "message is None; expected one of AttachmentAnswer, "),
        ({"message": ["Heartbeat"]}, "expected one of"),
        ({"message": "Heartbeat"}, "expected the key sequence"),
        ({"message": "Heartbeat", "sequence": 1, "seq": 2}, "seq is 2; expected only the keys"),
        ({"message": "Heartbeat", "sequence": "1"}, "sequence is '1'; expected an integer"),
        ({"message": "Heartbeat", "sequence": True}, "sequence is True; expected an integer"),
        ({"message": "Heartbeat", "sequence": 1, "response": 1}, "response is 1"),
        ({**FLOW_JSON, "reason": "FLOW"}, "reason is 'FLOW'; expected an integer or one of"),
        ({**FLOW_JSON, "reason": {}}, "expected the keys value, name or both"),
        ({**FLOW_JSON, "reason": {"value": 7, "name": "FLOW_MOBILITY"}}, "value and name to agree"),
        ({**FLOW_JSON, "options": {}}, r"options is \{\}; expected a list"),
        ({**FLOW_JSON, "options": [1]}, r"options\[0\] is 1; expected an object"),
        ({**FLOW_JSON, "options": [{"option": "HNP"}]}, r"options\[0\]\.option is 'HNP'"),
        (with_option(prefix_length=129), r"options\[1\] is .*prefix_length is 129"),
        (with_option(address="2001:db8::g"), r"options\[1\]\.address is .*an IPv6 address"),
        (with_option(address="192.0.2.1"), r"options\[1\]\.address is '192.0.2.1'"),
        (with_option(address="fe80::1%eth0"), r"options\[1\]\.address is 'fe80::1%eth0'"),
        (with_option(address=1), r"options\[1\]\.address is 1; expected an IPv6 address"),
        (with_option(address=None), r"address is None; expected an IPv6Address"),
        (
            {"message": "Heartbeat", "sequence": 1, "options": [{"option": "UnknownOption"}]},
            "the key type",
        ),
        (
            {
                "message": "Heartbeat",
                "sequence": 1,
                "options": [{"option": "UnknownOption", "type": 250, "data": "x"}],
            },
            r"options\[0\]\.data is 'x'; expected pairs of hexadecimal digits",
        ),
        (
            {
                "message": "Heartbeat",
                "sequence": 1,
                "options": [{"option": "MobileNodeIdentifier", "identifier": "\ud800"}],
            },
            "expected text",
        ),
    ],
)
def test_invalid_json_names_path_value_and_what_was_expected(form: Any, message: str) -> None:
    with pytest.raises(InvalidJson, match=message):
        message_from_json(form)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.data(), ANY_JSON)
def test_any_json_in_any_field_gives_a_message_or_invalid_json(
    messages: Any, data: st.DataObject, value: Any
) -> None:
    form = message_to_json(data.draw(messages))
    form[data.draw(st.sampled_from(sorted(form)))] = value
    try:
        message_from_json(form)
    except InvalidJson as error:
        assert "expected" in str(error)
