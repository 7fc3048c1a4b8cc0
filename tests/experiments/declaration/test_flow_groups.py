from __future__ import annotations

import copy
from ipaddress import IPv6Address
from typing import Any

import pytest

from experiments.declaration.flow_groups import idle_flows, moved_together, names_moved, orders
from experiments.declaration.spec import RunSpec
from nodes.strict import InputError, convert
from tests.experiments.synthetic import TOPOLOGY, UDP

HOME = IPv6Address("2001:db8:100::1")
MN1, MN3 = "mn1@flowmob.example", "mn3@flowmob.example"


def spec(scope: str = "flow", mns: int = 3, idle: int | None = 2, **changes: Any) -> RunSpec:
    topology = copy.deepcopy(TOPOLOGY)
    topology["nodes"]["mn"]["count"] = mns
    own = UDP | {"anchor": "wlan", "start": "wlan"}
    flows = {"a": own | {"port": 5001}, "z": own | {"port": 5002, "mn": mns}}
    document: dict[str, Any] = {
        "topology": topology,
        "flows": flows,
        "moves": [{"flow": "a", "to": "cell", "at_s": 12.0, "scope": scope}],
    }
    if idle is not None:
        document["idle"] = {"count": idle, "anchor": "wlan", "start": "wlan"}
    return convert(document | changes, RunSpec, "test")


def test_flows_have_numbers_of_their_own_at_all_mobile_nodes() -> None:
    assert list(idle_flows(spec())) == [
        (1, 3, 20_000),
        (1, 4, 20_001),
        (2, 5, 20_000),
        (2, 6, 20_001),
        (3, 7, 20_000),
        (3, 8, 20_001),
    ]
    assert list(idle_flows(spec(idle=None))) == []


@pytest.mark.parametrize(
    ("scope", "fids", "names", "wanted"),
    [
        ("flow", [1], ["a"], [{"mn": MN1, "fid": 1}]),
        ("list", [1, 3, 4], ["a"], [{"mn": MN1, "fid": [1, 3, 4]}]),
        ("prefix", [1, 3, 4], ["a"], [{"mn": MN1, "prefix": "2001:db8:100::/64"}]),
        ("mn", [1, 3, 4], ["a"], [{"mn": MN1, "fid": "all"}]),
        (
            "all",
            [1, 3, 4, 5, 6, 2, 7, 8],
            ["a", "z"],
            [{"mn": f"mn{number}@flowmob.example", "fid": "all"} for number in (1, 2, 3)],
        ),
    ],
)
def test_what_moves_together_and_how_it_is_ordered(
    scope: str, fids: list[int], names: list[str], wanted: list[dict[str, Any]]
) -> None:
    described = spec(scope)
    (move,) = described.moves
    assert list(moved_together(described, move)) == fids
    assert names_moved(described, move) == names
    assert orders(described, move, HOME, "cell") == [
        {"op": "move-flow", "to": "cell", **order} for order in wanted
    ]


def test_a_flow_belongs_to_the_mobile_node_that_it_names() -> None:
    moves = [{"flow": "z", "to": "cell", "at_s": 12.0, "scope": "mn"}]
    described = spec(moves=moves)
    assert moved_together(described, described.moves[0]) == {2: 3, 7: 3, 8: 3}
    assert orders(described, described.moves[0], HOME, "cell")[0]["mn"] == MN3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": {"decision_maker": "mn"}}, "several MNs expected"),
        ({"protocol": {"attachment": "layer-2"}}, "several MNs expected"),
        ({"scope": "all", "idle": None}, "expected idle flows"),
        (
            {
                "mns": 1,
                "flows": {"a": UDP | {"anchor": "wlan", "start": "wlan", "port": 5001, "mn": 2}},
            },
            r"flows\.a\.mn: 2; expected at most 1",
        ),
        (
            {
                "scope": "mn",
                "flows": {
                    "a": UDP | {"anchor": "wlan", "start": "wlan", "port": 5001},
                    "b": UDP | {"anchor": "cell", "start": "cell", "port": 5002},
                },
            },
            "the same anchor",
        ),
    ],
)
def test_what_makes_no_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec(**changes)
