"""RFC 5213 section 5.4, multihoming and the look-up of sessions: one test a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import Send
from nodes.config import MobileNodePolicy

if TYPE_CHECKING:
    from tests.domain import Anchor, Domain

WLAN, CELL = 4, 8
FIRST, SECOND = b"\2\0\0\0\1\1", b"\2\0\0\0\2\1"


def lma(domain: type[Domain], sessions: int = 1, **changes: Any) -> Anchor:
    """An LMA with one session of the node (WLAN, FIRST, P1), or a second one (CELL, SECOND, P2)."""
    anchor = domain.lma(**changes)
    anchor.acknowledged(domain.pbu())
    if sessions > 1:
        anchor.acknowledged(domain.pbu(technology=CELL, link_layer=SECOND), 0, domain.MAG2)
    return anchor


def ask(anchor: Anchor, domain: type[Domain], seconds: float = 1.0, **changes: Any) -> int:
    """The status that a request of MAG 2 is answered with."""
    return anchor.acknowledged(domain.pbu(seconds, **changes), seconds, domain.MAG2).status


def sessions(anchor: Anchor) -> list[str]:
    """Proxy-CoA's number and prefix numbers of each session: "2:1" is P1 at MAG 2."""
    return [
        f"{str(entry.proxy_coa)[10]}:"
        + "+".join(str(int(prefix.network_address) >> 64 & 0xFFFF) for prefix in entry.prefixes)
        for entry in anchor.core.bindings
    ]


# Sessions as `sessions` shows them.
STAYS, UPDATED, NEW = ["1:0"], ["2:0"], ["1:0", "2:1"]


def test_rfc5213_5_4_01_each_interface_has_its_session(domain: type[Domain]) -> None:
    anchor = lma(domain, 2)
    assert sessions(anchor) == NEW
    anchor.timer(1000)
    assert ask(anchor, domain, 1000, technology=CELL, link_layer=SECOND, handoff=5) == 0
    anchor.timer(3600)  # each has its own lifetime
    assert sessions(anchor) == ["2:1"]


def test_rfc5213_5_4_02_prefixes_of_an_interface_are_one_session(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=2))
    anchor.acknowledged(domain.pbu())
    assert sessions(anchor) == ["1:0+1"]
    assert ask(anchor, domain, handoff=3) == 0
    assert sessions(anchor) == ["2:0+1"]
    assert set(anchor.forwarding.routes.values()) == {domain.MAG2}


def test_rfc5213_5_4_03_handoff_between_interfaces(domain: type[Domain]) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=2, technology=CELL, link_layer=SECOND) == 0
    assert sessions(anchor) == UPDATED


@pytest.mark.parametrize(("handoff", "found"), [(1, NEW), (2, UPDATED)])
def test_rfc5213_5_4_04_the_handoff_indicator_decides(
    domain: type[Domain], handoff: int, found: list[str]
) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=handoff, technology=CELL, link_layer=SECOND) == 0
    assert sessions(anchor) == found


def test_rfc5213_5_4_1_01_prefixes_go_before_other_keys(domain: type[Domain]) -> None:
    """The link-layer identifier is that of the first session; the prefix is the second's."""
    anchor = lma(domain, 2)
    assert ask(anchor, domain, prefixes=(domain.P2,), technology=CELL, handoff=5) == 0
    second = list(anchor.core.bindings)[1]
    assert second.link_layer_id == FIRST
    assert sessions(anchor) == NEW


@pytest.mark.parametrize("link_layer", [FIRST, None])
def test_rfc5213_5_4_1_1_01_prefixes_are_the_key(
    domain: type[Domain], link_layer: bytes | None
) -> None:
    anchor = lma(domain, 2)
    values: dict[str, Any] = {"prefixes": (domain.P1,), "handoff": 2, "link_layer": link_layer}
    assert ask(anchor, domain, **values) == 0
    assert sessions(anchor) == ["2:0", "2:1"]


def test_rfc5213_5_4_1_1_02_entry_with_one_of_the_prefixes(domain: type[Domain]) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, prefixes=(domain.P1,), handoff=3) == 0
    assert sessions(anchor) == UPDATED


def test_rfc5213_5_4_1_1_03_no_entry_is_a_new_session(domain: type[Domain]) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, prefixes=(domain.P2,), handoff=3) == 0
    assert sessions(anchor) == NEW


def test_rfc5213_5_4_1_1_04_prefix_of_another_node(domain: type[Domain]) -> None:
    anchor = lma(domain)
    for prefixes in ((domain.P1,), (domain.P1, domain.P3)):
        assert ask(anchor, domain, mn=domain.OTHER_MN, prefixes=prefixes) == 155
    assert sessions(anchor) == STAYS


def test_rfc5213_5_4_1_1_05_prefix_sets_differ(domain: type[Domain]) -> None:
    anchor = domain.lma(MobileNodePolicy(prefixes_per_session=2))
    anchor.acknowledged(domain.pbu())
    one, two, three = domain.P1, domain.P2, domain.P3
    for prefixes in ((one,), (one, three), (one, two, three), (one, two, two), (two,)):
        assert ask(anchor, domain, prefixes=prefixes) == 159, prefixes
    assert ask(anchor, domain, prefixes=(two, one)) == 0


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ({}, {"handoff": 3}),  # link-layer identifier and technology
        ({}, {"handoff": 2, "technology": CELL, "link_layer": SECOND}),
        ({"link_layer": None}, {"handoff": 3, "link_layer": None}),
    ],
)
def test_rfc5213_5_4_1_1_06_conditions_of_an_update(
    domain: type[Domain], held: dict[str, Any], asked: dict[str, Any]
) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu(**held))
    assert ask(anchor, domain, prefixes=(domain.P1,), **asked) == 0
    assert sessions(anchor) == UPDATED
    # The fourth: Proxy-CoA and technology.
    anchor = lma(domain)
    again = domain.pbu(1, prefixes=(domain.P1,), link_layer=SECOND)
    assert anchor.acknowledged(again, 1).status == 0
    assert sessions(anchor) == STAYS


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ({}, {"handoff": 3, "link_layer": SECOND}),
        ({}, {"handoff": 3, "technology": CELL}),
        ({}, {"handoff": 3, "link_layer": None}),
        ({"link_layer": None}, {"handoff": 1, "link_layer": None}),
        ({"link_layer": None}, {"handoff": 3, "link_layer": None, "technology": CELL}),
    ],
)
def test_rfc5213_5_4_1_1_07_all_else_is_a_new_session(
    domain: type[Domain], held: dict[str, Any], asked: dict[str, Any]
) -> None:
    """Which can't have the prefixes of another interface (section 5.2), unless they are shared."""
    for model, status, count in (("unique", 155, 1), ("shared", 0, 2)):
        anchor = domain.lma(MobileNodePolicy(prefix_model=model))  # type: ignore[arg-type]
        anchor.acknowledged(domain.pbu(**held))
        assert ask(anchor, domain, prefixes=(domain.P1,), **asked) == status
        assert len(sessions(anchor)) == count


def _ignored(domain: type[Domain], **changes: Any) -> None:
    anchor = lma(domain)
    request = domain.pbu(1, lifetime=0, **changes)
    assert domain.of(Send, anchor.receive(request, 1, domain.MAG2)) == []
    assert sessions(anchor) == STAYS
    assert [entry.registered for entry in anchor.core.bindings] == [True]


def test_rfc5213_5_4_1_1_08_deregistration_of_nothing_is_ignored(domain: type[Domain]) -> None:
    _ignored(domain, prefixes=(domain.P2,), handoff=4)
    _ignored(domain, prefixes=(domain.P1,), handoff=4, technology=CELL, link_layer=SECOND)


def test_rfc5213_5_4_1_2_01_identifier_is_the_key(domain: type[Domain]) -> None:
    anchor = lma(domain, 2)
    assert ask(anchor, domain, handoff=3) == 0
    assert sessions(anchor) == ["2:0", "2:1"]


@pytest.mark.parametrize(
    "changes", [{"mn": "mn2@example.org"}, {"technology": CELL}, {"link_layer": SECOND}]
)
def test_rfc5213_5_4_1_2_02_all_three_keys_have_to_match(
    domain: type[Domain], changes: dict[str, Any]
) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=3, **changes) == 0
    assert sessions(anchor) == NEW


@pytest.mark.parametrize("handoff", [1, 2, 3, 4, 5])
def test_rfc5213_5_4_1_2_03_known_interface_is_updated(domain: type[Domain], handoff: int) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=handoff) == 0
    assert sessions(anchor) == UPDATED


def test_rfc5213_5_4_1_2_04_handoff_between_interfaces(domain: type[Domain]) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=2, technology=CELL, link_layer=SECOND) == 0
    assert sessions(anchor) == UPDATED


def test_rfc5213_5_4_1_2_05_one_and_only_one_entry(domain: type[Domain]) -> None:
    """With two sessions nobody knows which of them is handed off."""
    anchor = lma(domain, 2)
    assert ask(anchor, domain, handoff=2, link_layer=b"\2\0\0\0\3\1") == 0
    assert sessions(anchor) == ["1:0", "2:1", "2:2"]


@pytest.mark.parametrize("link_layer", [SECOND, FIRST, b"\1\2\3\4\5\6\7\x08"])
def test_rfc5213_5_4_1_2_06_the_only_entry_is_updated(
    domain: type[Domain], link_layer: bytes
) -> None:
    anchor = lma(domain)
    anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN))  # whose sessions don't count
    assert ask(anchor, domain, handoff=2, technology=CELL, link_layer=link_layer) == 0
    assert sessions(anchor) == ["2:0", "1:1"]


def _held(domain: type[Domain], count: int = 1, **changes: Any) -> Anchor:
    """An LMA that has got a request with handoff state unknown at second 1."""
    anchor = lma(domain, count)
    values: dict[str, Any] = {"technology": CELL, "link_layer": b"\2\0\0\0\3\1", **changes}
    actions = anchor.receive(domain.pbu(1, handoff=4, **values), 1, domain.MAG2)
    assert bool(domain.of(Send, actions)) is (count != 1)
    return anchor


def _deregister(anchor: Anchor, domain: type[Domain]) -> list[Send]:
    leaving = domain.pbu(2, prefixes=(domain.P1,), handoff=4, lifetime=0)
    return domain.of(Send, anchor.receive(leaving, 2))


def test_rfc5213_5_4_1_2_07_unknown_handoff_state(domain: type[Domain]) -> None:
    """It waits, and the deregistration makes it a handoff."""
    anchor = _held(domain)
    assert sessions(anchor) == STAYS
    assert [sent.destination for sent in _deregister(anchor, domain)] == [domain.MAG1, domain.MAG2]
    assert sessions(anchor) == UPDATED


def test_rfc5213_5_4_1_2_08_one_and_only_one_entry(domain: type[Domain]) -> None:
    assert sessions(_held(domain, 2)) == ["1:0", "2:1", "2:2"]


@pytest.mark.parametrize("delay_ms", [1500, 500])
def test_rfc5213_5_4_1_2_09_wait_ends_with_a_new_session(
    domain: type[Domain], delay_ms: int
) -> None:
    """MaxDelayBeforeNewBCEAssign."""
    anchor = lma(domain, max_delay_before_new_bce_assign_ms=delay_ms)
    anchor.receive(domain.pbu(1, handoff=4, technology=CELL, link_layer=SECOND), 1, domain.MAG2)
    assert domain.of(Send, anchor.timer(1 + delay_ms / 1000 - 0.001)) == []
    assert len(domain.of(Send, anchor.timer(1 + delay_ms / 1000))) == 1
    assert sessions(anchor) == NEW


@pytest.mark.parametrize("handoff", [0, 1, 3, 5, 77])
def test_rfc5213_5_4_1_2_10_all_else_is_a_new_session(domain: type[Domain], handoff: int) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=handoff, technology=CELL, link_layer=SECOND) == 0
    assert sessions(anchor) == NEW


def test_rfc5213_5_4_1_2_11_deregistration_of_nothing_is_ignored(domain: type[Domain]) -> None:
    for handoff in (1, 4):
        _ignored(domain, technology=CELL, link_layer=SECOND, handoff=handoff)


@pytest.mark.parametrize("link_layer", [None, bytes(2), bytes(6)])
def test_rfc5213_5_4_1_3_01_mn_identifier_is_the_key(
    domain: type[Domain], link_layer: bytes | None
) -> None:
    """An identifier of zeros is none (figure 8)."""
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=3, link_layer=link_layer, technology=CELL) == 0
    assert sessions(anchor) == UPDATED


@pytest.mark.parametrize("handoff", [2, 3])
def test_rfc5213_5_4_1_3_02_one_and_only_one_entry(domain: type[Domain], handoff: int) -> None:
    anchor = lma(domain, 2)
    assert ask(anchor, domain, handoff=handoff, link_layer=None) == 0
    assert sessions(anchor) == ["1:0", "2:1", "2:2"]


@pytest.mark.parametrize("handoff", [2, 3])
def test_rfc5213_5_4_1_3_03_handoff_of_the_only_session(domain: type[Domain], handoff: int) -> None:
    anchor = lma(domain)
    anchor.acknowledged(domain.pbu(mn=domain.OTHER_MN))
    assert ask(anchor, domain, handoff=handoff, link_layer=None, technology=CELL) == 0
    assert sessions(anchor) == ["2:0", "1:1"]


def test_rfc5213_5_4_1_3_04_wait_ends_with_a_new_session(domain: type[Domain]) -> None:
    anchor = _held(domain, link_layer=None)
    assert domain.of(Send, anchor.timer(2.499)) == []
    anchor.timer(2.5)
    assert sessions(anchor) == NEW
    handed = _held(domain, link_layer=None)
    _deregister(handed, domain)
    assert sessions(handed) == UPDATED


@pytest.mark.parametrize("handoff", [0, 1, 5, 77])
def test_rfc5213_5_4_1_3_05_all_else_is_a_new_session(domain: type[Domain], handoff: int) -> None:
    anchor = lma(domain)
    assert ask(anchor, domain, handoff=handoff, link_layer=None) == 0
    assert sessions(anchor) == NEW


def test_rfc5213_5_4_1_3_06_deregistration_of_nothing_is_ignored(domain: type[Domain]) -> None:
    for handoff in (1, 4):
        _ignored(domain, link_layer=None, handoff=handoff)
