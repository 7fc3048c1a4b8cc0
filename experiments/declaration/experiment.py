"""From an experiment file to its runs: points, their parameters, and the instants of decisions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.declaration.access_events import instant_s
from experiments.declaration.job import Job
from experiments.declaration.link_changes import link_changes
from experiments.declaration.spec import Experiment, Protection, RunSpec
from nodes.strict import InputError, convert, load_toml, read_toml

EXPERIMENTS = Path(__file__).parent.parent
TOPOLOGIES = EXPERIMENTS.parent / "topologies"


class Point(NamedTuple):
    """One combination of levels, with the seeds to run it with, and the engine if not any."""

    name: str
    levels: dict[str, str]
    values: dict[str, float | str | None]
    spec: RunSpec
    seeds: int
    engine: str | None = None


def available() -> list[str]:
    return sorted(path.stem for path in EXPERIMENTS.glob("*.toml"))


def for_paper() -> list[str]:
    """All but the smoke test, which answers no question of a paper."""
    return [name for name in available() if name != "smoke"]


def load(name: str) -> Experiment:
    """The experiment `name`. Raises InputError, also for one that doesn't exist."""
    path = EXPERIMENTS / f"{name}.toml"
    if not path.is_file():
        raise InputError("experiment", "EXP", name, f"expected one of {', '.join(available())}")
    return load_toml(path, Experiment)


def text_of(name: str) -> str:
    """The file of experiment `name`, as it was written. Raises OSError."""
    return (EXPERIMENTS / f"{name}.toml").read_text(encoding="utf-8")


def points(
    name: str,
    experiment: Experiment,
    seeds: int | None = None,
    protection: Protection | None = None,
) -> list[Point]:
    """Every point of every part. `seeds` replaces the file's number, except where a part has a
    smaller one of its own. `protection` replaces that of the signalling, except where levels are
    about it. Raises InputError for parameters that don't make a run."""
    source = f"{name}.toml"
    found: list[Point] = []
    switched: dict[str, Any] = (
        {} if protection is None else {"protocol": {"protection": protection}}
    )
    for part_name, part in experiment.parts.items():
        topology = read_toml(TOPOLOGIES / f"{part.topology or experiment.topology}.toml")
        for factor in part.factors:
            if not factor.levels:
                key = f"parts.{part_name}.factors"
                raise InputError(source, key, factor.name, "has no levels; expected one at least")
        wanted = experiment.seeds if seeds is None else seeds
        wanted = wanted if part.seeds is None else min(wanted, part.seeds)
        for levels in itertools.product(*(factor.levels for factor in part.factors)):
            document: dict[str, Any] = merge(
                {"topology": topology}, experiment.base, part.base, switched
            )
            for level in levels:
                document = merge(document, level.set)
            labels = {
                factor.name: level.label for factor, level in zip(part.factors, levels, strict=True)
            }
            where = f"{source} ({', '.join(labels.values()) or part_name})"
            found.append(
                Point(
                    "-".join(labels.values()) or part_name,
                    labels,
                    {
                        factor.name: level.value
                        for factor, level in zip(part.factors, levels, strict=True)
                    },
                    convert(document, RunSpec, where),
                    wanted,
                    part.engine,
                )
            )
    _check_names(found, source)
    return found


def _check_names(found: list[Point], source: str) -> None:
    names = [point.name for point in found]
    for point_name in names:
        if names.count(point_name) > 1:
            raise InputError(
                source, "levels", point_name, "names two points; expected labels that differ"
            )
        if not all(character.isalnum() or character in "-_." for character in point_name):
            raise InputError(
                source, "levels", point_name, "expected letters, digits, '-', '_' and '.'"
            )


def merge(*tables: Mapping[str, Any]) -> dict[str, Any]:
    """Later tables override earlier ones, key by key in nested tables; a list replaces a list."""
    result: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items():
            before = result.get(key)
            if isinstance(value, Mapping) and isinstance(before, Mapping):
                result[key] = merge(before, value)
            else:
                result[key] = value
    return result


def decisions(spec: RunSpec, seed: int) -> tuple[float, ...]:
    """The instant of each move of `spec` in the run with `seed`, in s of the run."""
    return tuple(instant_s(move.at_s, spec.decision_spread_ms, seed) for move in spec.moves)


def jobs(name: str, found: list[Point], engine: str) -> Iterator[Job]:
    """One job a run, seeds 1 to n of a point after one another."""
    for point in found:
        for seed in range(1, point.seeds + 1):
            yield Job(
                experiment=name,
                point=point.name,
                levels=point.levels,
                values=point.values,
                seed=seed,
                engine=point.engine or engine,
                spec=point.spec,
                decisions_s=decisions(point.spec, seed),
                changes=link_changes(point.spec, seed, name),
            )
