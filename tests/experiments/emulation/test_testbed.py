from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest

from experiments.declaration.experiment import TOPOLOGIES
from experiments.declaration.spec import RunSpec
from nodes.strict import read_toml
from tests.experiments import synthetic

pytest.importorskip("mininet", reason="comes with the distribution")

from experiments.emulation.testbed import bind_request

ADDRESS = IPv6Address("2001:db8:100::1")


def run_spec(**changes: Any) -> RunSpec:
    return synthetic.run_spec(topology=read_toml(TOPOLOGIES / "reference.toml"), **changes)


def test_an_order_to_the_mn_names_its_interface_and_the_packets_towards_it() -> None:
    spec = run_spec()
    assert bind_request(spec, "b", ADDRESS, "wlan") == {
        "op": "bind-flow",
        "fid": 2,
        "priority": 20,
        "selector": {
            "start_source_address": "2001:db8:1::2",
            "start_destination_address": "2001:db8:100::1",
            "start_next_header": 17,
            "start_source_port": 5002,
            "start_destination_port": 5002,
        },
        "to": "mn-wlan",
    }


def test_of_a_download_the_mn_chooses_the_port() -> None:
    flow = {"kind": "tcp", "anchor": "cell", "start": "cell", "port": 5201}
    selector = bind_request(run_spec(flows={"d": flow}, moves=[]), "d", ADDRESS, "cell")["selector"]
    assert (selector["start_next_header"], selector["start_source_port"]) == (6, 5201)
    assert "start_destination_port" not in selector
