"""The socket-level conformance tests against the LMA and the MAG of this project, in guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.conformance.catalogue import socket_tests
from tests.system.guests import carry_out_check


@pytest.mark.parametrize("node", ["lma", "mag"])
def test_node_keeps_the_rules(kernel: Kernel, tmp_path: Path, node: str) -> None:
    found = carry_out_check(kernel, tmp_path, f"conformance_checks.{node}")
    wrong = {rule: result for rule, result in found.items() if result["verdict"] != "pass"}
    assert wrong == {}
    kinds = (f"{node}_", "node_")
    expected = {test.rule for test in socket_tests() if test.path.name.startswith(kinds)}
    assert found.keys() == expected
