from pathlib import Path

from experiments.declaration.experiment import TOPOLOGIES
from experiments.declaration.flows import Flow, UdpFlow
from experiments.declaration.spec import RunSpec
from experiments.engines.guest import (
    MEMORY_MIB,
    MOBILE_NODE_MIB,
    QUIC_MIB,
    SWITCHING_MIB,
    memory_mib,
)
from nodes.strict import convert, load_toml, read_toml
from tests.experiments.synthetic import write_job
from topologies.model import Topology

FLOW = UdpFlow(anchor="wlan", start="wlan", port=5001)


def _memory(folder: Path, topology: str) -> int:
    spec = RunSpec(topology=load_toml(TOPOLOGIES / f"{topology}.toml", Topology), flows={"a": FLOW})
    write_job(folder, spec, ())
    return memory_mib(folder)


def test_switches_get_memory_of_their_own(tmp_path: Path) -> None:
    assert _memory(tmp_path, "reference") == MEMORY_MIB
    assert _memory(tmp_path, "switched") == MEMORY_MIB + SWITCHING_MIB


def test_each_further_mobile_node_gets_memory(tmp_path: Path) -> None:
    document = read_toml(TOPOLOGIES / "reference.toml")
    document["nodes"]["mn"]["count"] = 100
    spec = RunSpec(topology=convert(document, Topology, "test"), flows={"a": FLOW})
    write_job(tmp_path, spec, ())
    assert memory_mib(tmp_path) == MEMORY_MIB + 99 * MOBILE_NODE_MIB


def test_quic_gets_memory_of_its_own(tmp_path: Path) -> None:
    topology = load_toml(TOPOLOGIES / "reference.toml", Topology)
    ends = {"anchor": "wlan", "start": "wlan", "port": 5010, "from_s": 5.0, "until_s": 5.5}
    found = []
    for kind in ("tcp", "quic"):
        flows = {"d": convert({"kind": kind, **ends}, Flow, "test")}
        write_job(tmp_path, RunSpec(topology=topology, flows=flows), ())
        found.append(memory_mib(tmp_path))
    assert found == [MEMORY_MIB, MEMORY_MIB + QUIC_MIB]


def test_a_check_has_no_job(tmp_path: Path) -> None:
    assert memory_mib(tmp_path) == MEMORY_MIB
