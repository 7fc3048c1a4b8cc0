"""Not from an RFC: what a controller adds to the floor of a move (docs/sdn.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.analysis import floor
from experiments.analysis.controller_messages import ControllerMessages
from experiments.analysis.moves import plan
from experiments.analysis.redirection import Redirection, redirection, redirection_columns
from experiments.analysis.traces import Way
from experiments.declaration.experiment import TOPOLOGIES, merge
from experiments.declaration.spec import RunSpec
from nodes.strict import read_toml
from tests.experiments.synthetic import run_spec


def sdn(data_plane: str, **delays_ms: float) -> RunSpec:
    links = {name.replace("_", "-"): {"delay_ms": value} for name, value in delays_ms.items()}
    topology = merge(read_toml(TOPOLOGIES / "sdn.toml"), {"links": links})
    return run_spec(topology=topology, protocol={"data_plane": data_plane})


DELAYS = {"lma_controller": 3.0, "controller_s2": 5.0, "controller_s3": 7.0, "controller_s4": 11.0}


@pytest.mark.parametrize(
    ("data_plane", "flow", "source", "to", "held_ms"),
    [
        ("sdn-core", "a", "wlan", "cell", 3 + 22 + 5),
        ("sdn-core", "b", "cell", "wlan", 3 + 14 + 5),
        ("sdn-assisted", "a", "wlan", "cell", 3 + 5),
        ("sdn-assisted", "a", "cell", "wlan", 3 + 5),  # back to its anchor
    ],
)
def test_how_long_the_controller_takes(
    data_plane: str, flow: str, source: str, to: str, held_ms: float
) -> None:
    spec = sdn(data_plane, **DELAYS)
    found = redirection(spec, spec.flows[flow], source, to)
    assert found == Redirection("s2", 8.0, pytest.approx(held_ms))


def test_in_tunnels_nobody_else_has_a_part() -> None:
    spec = sdn("tunnel")
    assert redirection(spec, spec.flows["a"], "wlan", "cell") is None


def test_packets_between_lma_and_switch_go_the_new_way_too() -> None:
    """Decided at 1000 ms and in force at 1008 ms: what the CN sent at 995.5 ms, and the LMA at
    1000.5 ms, is at the switch at 1008.5 ms."""
    spec = sdn("sdn-assisted", **DELAYS)
    flow, sent = spec.flows["a"], np.array([0.9755, 0.9955, 1.0155])
    found: Any = redirection(spec, flow, "wlan", "cell")
    lowest = floor.move_floor_ms(
        spec,
        flow,
        "cell",
        1.0,
        sent_s=sent,
        payload_bytes=188,
        signalling=found.held_ms,
        at=found.at,
    )
    assert lowest == pytest.approx(8.5 + 1 + 1 + 25 + 250 * 8 / 20e3)


def test_no_path_of_packets_leads_through_the_controller() -> None:
    spec = sdn("sdn-core", lma_controller=0.1, controller_s3=0.1)
    assert floor.lma_mag_delay_ms(spec.topology, "wlan") == 10.0
    assert floor.declared_delay_ms(spec.topology, "lma", "s3") == 9.0
    assert floor.tunnel_header_bytes(spec) == 0
    assert floor.tunnel_header_bytes(sdn("sdn-assisted")) == 40


def test_columns_of_a_run_on_switches() -> None:
    spec = sdn("sdn-assisted")
    record, _ = plan(spec, [12.0, 20.0])
    table = pd.DataFrame(
        {
            "sequence": range(4),
            "bytes": 188,
            "sent_s": [11.5, 12.5, 13.5, 30.0],
            "lma_s": np.nan,
            "received_s": np.nan,
            "access": "",
            "lma_access": "",
            "overhead": [40, -1, 0, 40],
        }
    )
    events = [(0, "runner", "rules", {"rules": {"s1": 11, "s2": 14}})]
    window = (1_100_000, 1_900_000)
    columns = redirection_columns(
        record, spec, Way(table), window, ControllerMessages([], []), events
    )
    assert columns == {
        "data_plane": "sdn-assisted",
        "northbound_messages": 0,
        "openflow_messages": 0,
        "rules_changed": 0,
        "rules_per_switch": 14,
        "overhead_bytes": 20.0,
    }
