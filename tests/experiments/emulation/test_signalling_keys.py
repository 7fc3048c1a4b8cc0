from __future__ import annotations

from pathlib import Path

from experiments.declaration.job import esp_keys
from experiments.emulation.signalling_keys import (
    node_keys,
    provide_keys,
    security_associations,
)
from nodes.ipsec.security_associations import read_keys
from tests.experiments.synthetic import run_spec

PROTECTED = run_spec(protocol={"protection": "keys"})
LMA, MAG1 = (PROTECTED.topology.nodes[name].address for name in ("lma", "mag1"))


def test_each_pair_and_direction_has_a_key_of_its_own() -> None:
    found = list(security_associations(PROTECTED.topology, 1))
    assert len(found) == 4
    assert len({sa.key for sa in found}) == len({sa.spi for sa in found}) == 4
    assert {LMA in (sa.source, sa.destination) for sa in found} == {True}


def test_keys_follow_from_the_seed() -> None:
    first, again, other = (
        list(security_associations(PROTECTED.topology, seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert not {sa.key for sa in first} & {sa.key for sa in other}


def test_each_node_has_its_own_keys_alone_and_the_run_has_all(tmp_path: Path) -> None:
    state, folder = tmp_path / "state", tmp_path / "run"
    state.mkdir()
    folder.mkdir()
    provide_keys(PROTECTED, 1, state, folder)
    own = {node: set(read_keys(node_keys(state, node))) for node in ("lma", "mag1", "mag2")}
    every = set(read_keys(esp_keys(folder)))
    assert own["lma"] == every
    assert own["mag1"] == {sa for sa in every if MAG1 in (sa.source, sa.destination)}
    assert own["mag1"] | own["mag2"] == every
    assert not own["mag1"] & own["mag2"]
    assert len(list(state.iterdir())) == 3


def test_no_keys_without_protection_or_with_a_key_manager(tmp_path: Path) -> None:
    for protection in ("none", "ikev2"):
        provide_keys(run_spec(protocol={"protection": protection}), 1, tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []
