"""Every kept input, and every seed, does what its target declares. `make fuzz` looks for more."""

from __future__ import annotations

import resource

import pytest

from tests.fuzz import corpus
from tests.fuzz.catalogue import NAMES, load
from tests.fuzz.target import Target

# Far more than any takes on a slow machine, far less than one that doesn't end.
CPU_S = 20.0


@pytest.mark.parametrize("name", NAMES)
def test_kept_inputs_do_what_is_declared(name: str) -> None:
    target = load(name)
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    kept = corpus.read(name)
    for data in kept:
        target(data)
    assert kept, "`make fuzz` and `python -m tests.fuzz --keep` make a corpus"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - begun < CPU_S


@pytest.mark.parametrize("name", NAMES)
def test_seeds_are_accepted_so_that_fuzzing_begins_behind_the_first_check(name: str) -> None:
    target = load(name)
    seeds = list(target.seeds())
    assert seeds
    assert any(target(data) for data in seeds)
    assert all(len(data) <= target.octets for data in seeds)


def test_what_is_not_declared_is_seen() -> None:
    def broken(data: bytes) -> None:
        if data[:1] == b"\xff":
            raise KeyError

    target = Target(broken, (ValueError,))
    assert target(b"\0")
    with pytest.raises(KeyError):
        target(b"\xff")
