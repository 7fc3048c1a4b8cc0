"""`flowmob shell` on switches: rules in terms of flows and bindings."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system.guests import carry_out_check, make_job, put_job


@pytest.mark.parametrize("mode", ["sdn-core", "sdn-assisted"])
def test_rules_are_shown_by_flow(kernel: Kernel, tmp_path: Path, mode: str) -> None:
    job = make_job({"protocol": {"data_plane": mode}}, network="sdn")
    lines = ["rules", "move 1 cell", "rules s2", "rules s2 raw", "rules s9"]
    folder = put_job(tmp_path / mode, job)
    text = carry_out_check(kernel, folder, "prompt_checks.commands", lines=lines)
    before, moved, rest = text.partition("fid  move\n1    1\n")
    assert moved, text
    assert "*** expected a switch (s1, s2, s3, s4)" in rest
    assert "cookie=0xf10b0003" in rest, text
    if mode == "sdn-core":
        assert "s3  flow mn1@flowmob.example/1 at priority 10 (mag1), udp" in before, text
        assert "s2  default path, to 2001:db8:100:" in before
        assert "s2  flow mn1@flowmob.example/1 at priority 10 (mag2), udp" in rest
        assert "s3  flow" not in rest
    else:
        assert "flow mn1@flowmob.example/1 has no rules: as the LMA sends it" in before, text
        assert "to s4, as to mag2" in rest
