"""Fixtures of the system tests. Everything in this folder boots guests and has the marker."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import analyse_run
from experiments.declaration.experiment import Point, load, points
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel, find_kernel
from tests.system.guests import LIMIT_S, job_of, put_job

HERE = Path(__file__).parent
MODELS = ("shared", "unique-ack", "unique-send", "hybrid")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    """Raises KernelError, which says how to get one, if there is none."""
    return find_kernel()


@pytest.fixture(scope="session")
def virtual(kernel: Kernel) -> GuestEngine:
    return GuestEngine(kernel, virtual=True)


@pytest.fixture(scope="session")
def reference_point() -> Callable[[str], Point]:
    """The point of the reference comparison with a prefix model, at the reference delay."""
    found = points("prefix-models", load("prefix-models"), 1)

    def choose(model: str) -> Point:
        wanted = {"model": model, "lma_mag_delay_ms": "10ms"}
        (point,) = [point for point in found if point.levels == wanted]
        return point

    return choose


@pytest.fixture(scope="session")
def reference_run(
    virtual: GuestEngine,
    reference_point: Callable[[str], Point],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[Path, list[dict[str, Any]]]]:
    """The folder and the rows of one reference run, carried out once for all who ask."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def run(model: str) -> tuple[Path, list[dict[str, Any]]]:
        folder = root / f"reference-{model}"
        with (root / f"reference-{model}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = folder / "rows.json"
            if not rows.exists():
                put_job(folder, job_of(reference_point(model), "virtual", 1))
                outcome = virtual.run(folder, LIMIT_S)
                assert outcome.failure is None, outcome.failure
                found = analyse_run(folder, keep_captures=True)
                rows.write_text(json.dumps(found))
            return folder, json.loads(rows.read_text())

    return run
