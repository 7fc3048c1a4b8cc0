"""The checks of network, captures, traffic and prompt that decide for themselves, in the guest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system.guests import carry_out_check

CHECKS = [
    f"{path.stem}.{name}"
    for path in sorted((Path(__file__).parent / "guest_checks").glob("*_checks.py"))
    for name in re.findall(r"(?m)^def (check_\w+)\(", path.read_text())
]


def test_there_are_checks() -> None:
    assert {name.partition(".")[0] for name in CHECKS} == {"network_checks", "shell_checks"}


@pytest.mark.parametrize("check", CHECKS)
def test_in_guest(kernel: Kernel, tmp_path: Path, check: str) -> None:
    carry_out_check(kernel, tmp_path, check)
