"""tshark with the project's dissector on what runs captured: see tests/wireshark.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nodes.wire.capture import read_headers
from tests import wireshark
from tests.system.conftest import MODELS

Run = Callable[[str], tuple[Path, list[dict[str, Any]]]]


@wireshark.needed
@pytest.mark.parametrize("model", MODELS)
def test_no_octet_of_a_run_is_undecoded(reference_run: Run, model: str) -> None:
    folder, _ = reference_run(model)
    captures = [folder / "control.pcapng", *sorted((folder / "wire").glob("*.pcapng"))]
    types = set()
    for capture in captures:
        headers = [header.data for header in read_headers(capture)]
        trees = [tree for tree in wireshark.dissect(capture, complete=False) if tree is not None]
        assert len(trees) == len(headers), capture
        for data, tree in zip(headers, trees, strict=True):
            wireshark.compare(data, tree)
            assert wireshark.experts(tree) == []
            (valid,) = tree.iterfind(".//field[@name='flowmob.checksum_valid']")
            assert valid.get("show") in ("1", "True")
            assert not list(tree.iterfind(".//field[@name='flowmob.unknown_option']"))
            types.add(data[2])
    assert types == ({5, 6} if model == "shared" else {5, 6, 19, 20})


@wireshark.needed
def test_flow_mobility_messages_of_a_run_are_named(reference_run: Run) -> None:
    folder, _ = reference_run("unique-ack")
    shown = ("-Y", "flowmob.mh_type >= 19", "-T", "fields", "-e", "flowmob.message")
    names = wireshark.tshark(folder / "control.pcapng", *shown)
    assert names[::2] == ["Flow Mobility Initiate"] * (len(names) // 2)
    assert names[1::2] == ["Flow Mobility Acknowledgement"] * (len(names) // 2)
    assert names
