"""Files that people write, and those that an earlier run has left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from controllers.config import RedirectionConfig
from experiments.analysis.event_log import event_of, events_csv
from experiments.declaration.cellular_trace import read_trace
from experiments.declaration.experiment import EXPERIMENTS, TOPOLOGIES, merge
from experiments.declaration.job import Job
from experiments.declaration.spec import Experiment, RunSpec
from nodes.config import LmaConfig, MagConfig, MnConfig
from nodes.restart_counter import State
from nodes.strict import InputError, convert, from_json, load_toml, to_json
from tests.experiments.synthetic import START_NS, TOPOLOGY, run_spec
from tests.fuzz.target import Target, file_with
from topologies.model import Topology

LMA = b"""
address = "2001:db8:10::1"
prefix_pool = "2001:db8:100::/48"
authorized_mags = ["2001:db8:11::1"]
events = "lma.jsonl"
control_socket = "lma.sock"
[accesses]
wlan = { technology = 4, priority = 10 }
[mobile_nodes."mn1@example.org"]
prefix_model = "hybrid"
prefixes = ["2001:db8:100::/64"]
mags = ["2001:db8:11::1"]
policies = [{ kind = "load-balance" }]
"""
MAG = b"""
proxy_coa = "2001:db8:11::1"
lma = "2001:db8:10::1"
events = "mag.jsonl"
[access_interfaces.wlan]
mn_id = "mn1@example.org"
access_technology = 4
link_layer_id = "02:00:00:00:01:01"
[router]
max_rtr_adv_interval_s = 30
"""
MN = b"""
logical_interface = "lif"
access_interfaces = ["wlan", "cell"]
interface_id = 1
uplink = "static"
mn_id = "mn1"
events = "mn.jsonl"
[static_policy]
5001 = "wlan"
[layer_2.wlan]
access_technology = 4
"""


def toml(wanted: type[Any], data: bytes) -> None:
    value = load_toml(file_with(data), wanted)
    assert convert(json.loads(to_json(value)), wanted, "again") == value


def experiment(data: bytes) -> None:
    """An experiment on a topology of its own: the file, and all runs that it makes, if they are not
    so many that a person would be asked."""
    found = load_toml(file_with(data), Experiment)
    for part in found.parts.values():
        combinations = 1
        for factor in part.factors:
            combinations *= max(1, len(factor.levels))
        if combinations > 64:
            return
        for factor in part.factors:
            for level in factor.levels:
                document = merge({"topology": TOPOLOGY}, found.base, part.base, level.set)
                convert(document, RunSpec, "level")


def job(data: bytes) -> None:
    value = from_json(data, Job, "job.json")
    assert from_json(to_json(value), Job, "again") == value


def state(data: bytes) -> None:
    from_json(data, State, "state")


def trace(data: bytes) -> None:
    found = read_trace(file_with(data))
    rates = found.rates_mbit(100, 1_000)
    assert (rates > 0).all()


def event_lines(data: bytes) -> None:
    path = Path("lma.jsonl")
    found = [event_of(line, path, n, START_NS) for n, line in enumerate(data.splitlines(), 1)]
    events_csv(found)


def _files(folder: Path, most: int) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.toml")):
        data = path.read_bytes()
        if len(data) <= most:
            yield data


def _experiments() -> Iterator[bytes]:
    yield from _files(EXPERIMENTS, 4096)


def _specs() -> Iterator[bytes]:
    yield from _files(TOPOLOGIES, 4096)


def _jobs() -> Iterator[bytes]:
    spec = run_spec(flows={}, moves=[])
    yield to_json(
        Job(
            experiment="x",
            point="p",
            levels={"delay": "1 ms"},
            values={"delay": 1.0},
            seed=1,
            engine="virtual",
            spec=spec,
            decisions_s=(),
        )
    )


def _redirection() -> Iterator[bytes]:
    yield b"""
events = "c.jsonl"
datapath_ids = { s1 = 1 }
[fabric]
switches = ["s1"]
links = []
[fabric.lma]
name = "lma"
addresses = ["2001:db8::1"]
mac = "02:00:00:00:00:01"
switch = "s1"
port = 1
[[fabric.mags]]
name = "mag1"
addresses = ["2001:db8::2"]
mac = "02:00:00:00:00:02"
switch = "s1"
port = 2
[timers]
drain_ms = 5
"""


def _traces() -> Iterator[bytes]:
    yield b"1\n3\n3\n10\n"


def _states() -> Iterator[bytes]:
    yield to_json(State(7))


def _event_lines() -> Iterator[bytes]:
    yield to_json({"t": START_NS, "node": "lma", "event": "moved", "fid": 1, "to": [1, "x"]})


TARGETS = {
    "lma-config": Target(partial(toml, LmaConfig), (InputError,), 768, lambda: [LMA]),
    "mag-config": Target(partial(toml, MagConfig), (InputError,), 768, lambda: [MAG]),
    "mn-config": Target(partial(toml, MnConfig), (InputError,), 768, lambda: [MN]),
    "controller-config": Target(
        partial(toml, RedirectionConfig), (InputError,), 1024, _redirection
    ),
    "topology-file": Target(partial(toml, Topology), (InputError,), 4096, _specs),
    "experiment-file": Target(experiment, (InputError,), 4096, _experiments),
    "job-file": Target(job, (InputError,), 4096, _jobs),
    "cellular-trace": Target(trace, (InputError,), 256, _traces),
    "event-lines": Target(event_lines, (InputError,), 512, _event_lines),
    "state-file": Target(state, (InputError,), 128, _states),
}
