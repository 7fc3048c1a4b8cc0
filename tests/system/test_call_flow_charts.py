"""docs/call-flows.md shows what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system.call_flows import CALL_FLOWS, DOCUMENT, CallFlow, chart


@pytest.mark.parametrize("flow", CALL_FLOWS, ids=lambda flow: flow.title)
def test_the_document_has_this_chart(kernel: Kernel, flow: CallFlow, tmp_path: Path) -> None:
    _, _, section = DOCUMENT.read_text(encoding="utf-8").partition(f"## {flow.title}\n")
    _, _, committed = section.partition("```mermaid\n")
    found = chart(kernel, flow, tmp_path)
    # Two that arrive in one tick of the clock may do so in either order.
    lines = committed.partition("```")[0].splitlines()
    assert sorted(found.splitlines()) == sorted(lines), "`make call-flows` draws the charts anew"


def test_the_document_has_no_other_charts() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert [line[3:] for line in lines if line.startswith("## ")] == [f.title for f in CALL_FLOWS]
