"""An nftables table that an earlier start has left: what differs is changed, and nothing else.
tests/system/test_restarts.py has it in a kernel."""

from __future__ import annotations

import json
from ipaddress import IPv6Network
from typing import Any

import pytest

from nodes.kernel import table_adoption
from nodes.kernel.nftables import Command, Transactions
from nodes.kernel.set_elements import ElementChange
from nodes.kernel.table_adoption import AdoptedTable

TABLE = "ip6 t"
SKELETON = ("table ip6 t {\n  map binding {\n  }\n  chain ordered {\n  }\n}",)
HOME = IPv6Network("2001:db8:100::/64")


def listing(*items: dict[str, Any]) -> str:
    head = [{"metainfo": {}}, {"table": {"family": "ip6", "name": "t", "handle": 1}}]
    return json.dumps({"nftables": [*head, *items]})


BASE = {"chain": {"name": "classify", "hook": "prerouting"}}
LEFT = (
    BASE,
    {"chain": {"name": "ordered"}},
    {"chain": {"name": "copies_a"}},
    {"chain": {"name": "copies_b"}},
    {"rule": {"chain": "classify"}},
    {"rule": {"chain": "ordered"}},
    {"rule": {"chain": "copies_a"}},
    {"map": {"name": "binding", "elem": [[10, 1], [11, 2], [12, 1]]}},
    {"map": {"name": "copies", "elem": [[10, {"jump": {"target": "copies_a"}}]]}},
    {"map": {"name": "exact", "elem": [[{"concat": ["2001:db8::1", 17, 5001]}, 10]]}},
    {"set": {"name": "home_prefixes", "elem": [str(HOME.network_address)]}},
)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """What the kernel is told."""
    told: list[Command] = []
    monkeypatch.setattr(Transactions, "__init__", lambda self, table: None)
    monkeypatch.setattr(Transactions, "run", lambda self, *some: told.extend(some))
    return told


def found(monkeypatch: pytest.MonkeyPatch, *items: dict[str, Any]) -> AdoptedTable:
    """With a table of `items` in the kernel, made by SKELETON."""
    made: list[Command] = []
    with monkeypatch.context() as patch:
        patch.setattr(Transactions, "run", lambda self, *some: made.extend(some))
        AdoptedTable(TABLE, SKELETON, adopt=False)
    version = next(str(one).split()[5] for one in made if "made_by" in str(one))

    class Library:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

        def cmd(self, command: str) -> tuple[int, str, str]:
            assert command == f"list table {TABLE}"
            return 0, listing(*items, {"chain": {"name": version}}), ""

    monkeypatch.setattr(table_adoption, "Nftables", Library)
    return AdoptedTable(TABLE, SKELETON, adopt=True)


def test_what_is_there_and_right_stays_untouched(
    monkeypatch: pytest.MonkeyPatch, commands: list[Command]
) -> None:
    table = found(monkeypatch, *LEFT)
    assert table.holds("home_prefixes", HOME)
    table.run(ElementChange(True, "home_prefixes", HOME.network_address))
    table.run(*(ElementChange(True, "binding", key, mark) for key, mark in ((10, 1), (11, 3))))
    table.run("add element ip6 t exact { 2001:db8::1 . 17 . 5001 : 0xa }")
    table.run(ElementChange(True, "binding", 13, 2), ElementChange(False, "binding", 13))
    assert commands == [], "nothing is carried out before all is known"
    table.end_adoption()
    assert sorted(str(command) for command in commands) == sorted(
        [
            "delete element ip6 t binding { 11 }",
            "delete element ip6 t binding { 12 }",
            "delete element ip6 t copies { 10 }",
            "flush chain ip6 t ordered",
            "flush chain ip6 t copies_a",
            "delete chain ip6 t copies_a",
            "delete chain ip6 t copies_b",
            str(ElementChange(True, "binding", 11, 3)),
        ]
    )
    order = [str(command).split(" ip6")[0] for command in commands]
    assert order[:3] == ["delete element"] * 3, "what names a chain goes before it"


def test_rules_take_the_place_of_those_there_in_one_transaction(
    monkeypatch: pytest.MonkeyPatch, commands: list[Command]
) -> None:
    table = found(monkeypatch, *LEFT)
    rules = ["flush chain ip6 t ordered", "add rule ip6 t ordered ip6 daddr 2001:db8::/64 return"]
    copies = ["add chain ip6 t copies_a", 'add rule ip6 t copies_a dup to fe80::1 device "mag2"']
    table.run(*rules, *copies, "add element ip6 t copies { 0xa : jump copies_a }")
    table.end_adoption()
    text = [str(command) for command in commands]
    assert text.index("flush chain ip6 t copies_a") < text.index(copies[1])
    assert text.index("flush chain ip6 t ordered") < text.index(rules[1])
    assert "delete chain ip6 t copies_a" not in text
    assert not [one for one in text if "element ip6 t copies" in one], "it is there already"


def test_without_any_difference_the_kernel_is_not_told_anything(
    monkeypatch: pytest.MonkeyPatch, commands: list[Command]
) -> None:
    found(monkeypatch, BASE, {"map": {"name": "binding"}}).end_adoption()
    assert commands == []


@pytest.mark.parametrize("why", ["no table", "another skeleton"])
def test_what_cannot_be_adopted_is_replaced_at_once(
    monkeypatch: pytest.MonkeyPatch, commands: list[Command], why: str
) -> None:
    """In one transaction, so that no packet meets a table that is half built."""
    table = found(monkeypatch, *LEFT)
    if why == "another skeleton":
        table = AdoptedTable(TABLE, (*SKELETON, "table ip6 t {\n  map more {\n  }\n}"), adopt=True)
    else:
        monkeypatch.setattr(table_adoption.Nftables, "cmd", lambda self, command: (1, "", "no"))
        table = AdoptedTable(TABLE, SKELETON, adopt=True)
    change = ElementChange(True, "binding", 10, 1)
    table.run(change)
    assert commands == []
    table.end_adoption()
    assert commands[:2] == ["add table ip6 t", "delete table ip6 t"]
    assert commands[-1] == change
