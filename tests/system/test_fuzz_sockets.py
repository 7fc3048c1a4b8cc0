"""LMA and MAG, as daemons with sockets, get made-up octets from all sides: they live on, answer a
good request afterwards, and what strangers say changes nothing (RFC 5213 section 4)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from experiments.engines.kernel_cache import Kernel
from tests.system.guests import carry_out_check

# By sender; FUZZ_SOCKETS asks for more.
COUNT = int(os.environ.get("FUZZ_SOCKETS", "1500"))
# Of these the kernel takes most, and what it takes arrives.
ARRIVES = 0.5
LIMIT_S = 120.0 + COUNT / 20


def fuzzed(kernel: Kernel, folder: Path, node: str) -> dict[str, Any]:
    found: dict[str, Any] = carry_out_check(
        kernel, folder, f"fuzz_checks.{node}", limit_s=LIMIT_S, count=COUNT
    )
    print(node, found["sent"], found["events"])
    assert all(count > COUNT * ARRIVES / 4 for count in found["sent"].values()), found["sent"]
    # They got past the sockets, and some past the codec.
    assert found["events"]["malformed"] > COUNT * ARRIVES * 0.5
    assert "Traceback" not in (folder / "logs" / f"{name_of(node)}.txt").read_text()
    return found


def name_of(node: str) -> str:
    return node if node == "lma" else "mag1"


def test_lma_lives_and_keeps_its_state_whatever_it_hears(kernel: Kernel, tmp_path: Path) -> None:
    found = fuzzed(kernel, tmp_path, "lma")
    assert [entry["prefixes"] for entry in found["kept"]] == [found["session"]]
    assert found["kept"][0]["state"] == "registered"
    assert found["kept"][0]["proxy_coa"] == "2001:db8:11::1"
    assert found["after"]
    assert found["after"] in [entry["prefixes"] for entry in found["alive"]]


def test_mag_lives_and_keeps_its_state_whatever_it_hears(kernel: Kernel, tmp_path: Path) -> None:
    found = fuzzed(kernel, tmp_path, "mag")
    assert found["kept"]
    assert found["registered"]


def test_mag_answers_attachments_whatever_frames_came_before(
    kernel: Kernel, tmp_path: Path
) -> None:
    assert fuzzed(kernel, tmp_path, "attachments")["asked"]
