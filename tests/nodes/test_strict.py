"""Not from an RFC: configuration and requests, whose errors name source, key and value."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.config import Access, LmaConfig, MobileNodePolicy
from nodes.strict import (
    InputError,
    convert,
    from_json,
    load_toml,
    read_toml,
    to_builtins,
    to_json,
)

if TYPE_CHECKING:
    from tests.domain import Domain

Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class Leaf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    address: IPv6Address
    share: Percent = 50


class Tree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    prefixes: tuple[IPv6Network, ...] = ()
    leaves: dict[str, Leaf] = {}
    inner: dict[str, dict[str, Leaf]] = {}


GOOD: dict[str, Any] = {
    "name": "tree",
    "prefixes": ["2001:db8::/64"],
    "leaves": {"a": {"address": "2001:db8::1"}, "b": {"address": "2001:db8::2", "share": 7}},
    "inner": {"x": {"y": {"address": "::1"}}},
}


def test_what_is_written_is_read_back_rfc5952() -> None:
    tree = convert(GOOD, Tree, "t.toml")
    assert tree.leaves["a"] == Leaf(IPv6Address("2001:db8::1"), 50)
    assert convert(to_builtins(tree), Tree, "again") == tree
    assert from_json(to_json(tree), Tree, "again") == tree


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (["name"], 5, "t.toml: name is 5; expected `str`, got `int`"),
        (["leaves", "b", "share"], 101, "t.toml: leaves.b.share is 101; expected `int` <= 100"),
        (["leaves", "b", "address"], "2001:db8::x", "t.toml: leaves.b.address is '2001:db8::x';"),
        (["inner", "x", "y", "share"], -1, "t.toml: inner.x.y.share is -1; expected `int` >= 0"),
        (["prefixes"], ["::/0", "2001:db8::1/64"], "prefixes[1] is '2001:db8::1/64';"),
        (
            ["leaves", "b", "shar"],
            7,
            "t.toml: leaves.b.shar is 7; is not a known key; did you mean",
        ),
        (["inner", "a.b"], {"y": 3}, 't.toml: inner."a.b".y is 3; expected `object`, got `int`'),
        (["prefixes"], [5], "t.toml: prefixes[0] is 5;"),
        (["colour"], "green", "t.toml: colour is 'green'; is not a known key"),
        (["leaves", "b"], [], "t.toml: leaves.b is []; expected `object`, got `array`"),
    ],
)
def test_errors_name_key_value_and_need(path: list[str], value: Any, text: str) -> None:
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(GOOD))
    table = data
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    with pytest.raises(InputError) as caught:
        convert(data, Tree, "t.toml")
    assert text in str(caught.value)


def test_a_key_that_is_missing_is_named() -> None:
    with pytest.raises(InputError, match="missing required field `name`"):
        convert({}, Tree, "t.toml")


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 200), st.text(max_size=3), st.just("2001:db8::1")
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(
                ["name", "leaves", "address", "share", "inner", "prefixes", "a.b", "z"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


@given(trees)
def test_whatever_is_wrong_the_error_names_a_key(data: Any) -> None:
    try:
        convert(data, Tree, "t.toml")
    except InputError as error:
        assert error.key
        assert str(error).startswith(f"t.toml: {error.key}")


@given(st.binary(max_size=40))
def test_requests_of_any_octets_are_read_or_refused(data: bytes) -> None:
    try:
        from_json(data, Tree, "request")
    except InputError as error:
        assert str(error).startswith("request: ")


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(InputError, match="not JSON"):
        from_json(b"[" * 60_000, Tree, "request")


def test_files_that_are_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.toml: \(file\) can't be read: No such file"):
        read_toml(tmp_path / "gone.toml")
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(InputError, match="is not TOML"):
        read_toml(tmp_path / "broken.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(InputError, match="is not TOML"):
        read_toml(tmp_path / "latin.toml")


def test_a_configuration_from_a_file_rfc5213_9_1(tmp_path: Path, domain: type[Domain]) -> None:
    wanted = domain.lma_config(MobileNodePolicy(prefixes=(domain.P1,)))
    path = tmp_path / "lma.toml"
    path.write_text(
        f"""
        events = "/dev/null"
        seed = 1
        address = "{domain.LMA}"
        control_socket = "/nowhere"
        prefix_pool = "{domain.POOL}"
        authorized_mags = ["{domain.MAG1}", "{domain.MAG2}"]
        mobile_nodes."{domain.MN}".prefixes = ["{domain.P1}"]
        mobile_nodes."{domain.OTHER_MN}".prefixes = ["{domain.P1}"]
        accesses.wlan = {{ technology = 4, priority = 10 }}
        accesses.cell = {{ technology = 8, priority = 20 }}
        """
    )
    config = load_toml(path, LmaConfig)
    assert config == wanted
    assert (
        config.min_delay_before_bce_delete_ms,
        config.max_delay_before_new_bce_assign_ms,
        config.timestamp_validity_window_ms,
        config.min_delay_between_update_notification_replay_ms,
        config.max_update_notification_retransmit_count,
    ) == (10_000, 1_500, 300, 1_000, 1)


@pytest.mark.parametrize("priority", [0, 128])
def test_bid_pri_has_seven_bits_and_0_is_reserved_rfc6089_4_1(priority: int) -> None:
    with pytest.raises(InputError, match="priority"):
        convert({"technology": 4, "priority": priority}, Access, "t.toml")


def test_types_that_are_not_known_are_a_fault_of_the_program() -> None:
    with pytest.raises(NotImplementedError):
        to_builtins({"x": object()})
    assert to_builtins([IPv4Address("192.0.2.1")]) == ["192.0.2.1"]
