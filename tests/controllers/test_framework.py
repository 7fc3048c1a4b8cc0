"""What needs no switch. Both frameworks run in tests/system/test_controllers.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NAMES = """
import controllers.framework as framework
print(framework.NAME, framework.Application.__mro__[1].__module__, framework.hub.__name__)
"""


def imported(choice: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: v for name, v in os.environ.items() if name != "FLOWMOB_CONTROLLER"}
    if choice is not None:
        environment["FLOWMOB_CONTROLLER"] = choice
    command = [sys.executable, "-s", "-c", NAMES]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("choice", "line"),
    [
        (None, "os-ken os_ken.base.app_manager os_ken.lib.hub"),
        ("os-ken", "os-ken os_ken.base.app_manager os_ken.lib.hub"),
        ("ryu", "ryu ryu.base.app_manager ryu.lib.hub"),
    ],
)
def test_the_environment_chooses(choice: str | None, line: str) -> None:
    result = imported(choice)
    assert result.stdout.strip() == line, result.stderr


def test_an_unknown_framework_is_refused() -> None:
    result = imported("pox")
    assert "FLOWMOB_CONTROLLER: 'pox'; expected one of os-ken, ryu" in result.stderr
