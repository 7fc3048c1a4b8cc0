"""The engine `host`: refused where the kernel lacks something, tidy where it has everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import analyse_run
from experiments.engines.features import missing_features
from experiments.engines.kernel_cache import Kernel
from tests.system.guests import carry_out_check, make_job, processes, put_job

MEMORY_MIB = 400
# As short as a run can be: real time is what it takes.
SHORT: dict[str, Any] = {
    "duration_s": 5.0,
    "attachments": [{"access": "wlan", "at_s": 0.2}, {"access": "cell", "at_s": 0.4}],
    "flows": {
        "a": {"from_s": 2.0, "until_s": 4.8},
        "stay": {"from_s": 2.0, "until_s": 4.8},
    },
    "moves": [{"flow": "a", "to": "cell", "at_s": 3.0}],
}
FLOW_B = {**SHORT["flows"]["a"], "kind": "udp", "anchor": "cell", "start": "cell", "port": 5002}


def _here() -> dict[str, Any]:
    """What there is on this machine that a run could leave behind."""
    listed = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True)
    return {
        "links": [line.split(":")[1] for line in listed.stdout.splitlines()],
        "namespaces": subprocess.run(
            ["ip", "netns"], capture_output=True, text=True, check=True
        ).stdout,
        "runs": processes(lambda command: b"experiments.emulation.inside" in command),
    }


def _flowmob_host(tmp_path: Path, *before: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", "experiments.cli", "run", "smoke", "--engine", "host"],
        env={**os.environ, "FLOWMOB_RESULTS": str(tmp_path / "results")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_refused_where_the_kernel_lacks_something(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: the engine asks for root first")
    missing = missing_features()
    if not missing:
        pytest.skip("this kernel has everything that the engine host needs")
    before = _here()
    done = _flowmob_host(tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("flowmob: engine host: kernel ")
    for feature in missing:
        assert f"  {feature.name}: {feature.why}" in done.stderr
    assert "ENGINE=virtual" in done.stderr
    assert _here() == before
    assert not list(tmp_path.iterdir())


def test_refused_without_root(tmp_path: Path) -> None:
    before: list[str] = []
    if os.geteuid() == 0:
        before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        probe = [*before, sys.executable, "-c", "import experiments.cli"]
        if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
            pytest.skip("nobody can't read this checkout: a folder above it is closed to others")
    done = _flowmob_host(tmp_path, *before)
    assert done.returncode == 2
    # Libraries may complain that nobody has no home.
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("flowmob: ")]
    assert message.startswith("flowmob: engine host: needs root")
    assert "virtual" in message
    assert not list(tmp_path.iterdir())


def _in_guest(kernel: Kernel, folder: Path, function: str, **arguments: Any) -> Any:
    return carry_out_check(
        kernel,
        folder,
        f"host_engine_checks.{function}",
        virtual=False,
        memory_mib=MEMORY_MIB,
        **arguments,
    )


def test_two_runs_at_once(kernel: Kernel, tmp_path: Path) -> None:
    for seed, name in enumerate(("first", "second"), start=1):
        put_job(tmp_path / name, make_job(SHORT, engine="host", seed=seed))
    result = _in_guest(kernel, tmp_path, "two_at_once")
    assert result["failures"] == [None, None]
    assert result["left"] == {}
    # While they run they have namespaces of their own, and nothing is to be seen of their network.
    meanwhile = result["meanwhile"]
    assert set(meanwhile) == {"namespaces", "processes", "files"}
    for name in ("first", "second"):
        (row,) = analyse_run(tmp_path / name)
        assert row["status"] == "ok"
        assert (row["lost"], row["duplicated"], row["stay_moved"]) == (0, 0, 0)
        assert row["signalling_messages"] == 2


@pytest.mark.parametrize("datapath", ["system", "netdev"])
def test_a_run_on_open_vswitch(kernel: Kernel, tmp_path: Path, datapath: str) -> None:
    """Switches and controller of the run, with either datapath. They need some seconds more on a
    busy machine."""
    stream = {"from_s": 5.0, "until_s": 7.8}
    switched = {
        "duration_s": 8.0,
        "attachments": [{"access": "wlan", "at_s": 1.0}, {"access": "cell", "at_s": 1.5}],
        "flows": {"a": stream, "stay": stream},
        "moves": [{"flow": "a", "to": "cell", "at_s": 6.0}],
        "topology": {"switching": {"datapath": datapath}},
        "protocol": {"data_plane": "sdn-core"},
    }
    put_job(tmp_path / "run", make_job(SHORT, switched, engine="host", network="sdn"))
    result = _in_guest(kernel, tmp_path, "one")
    assert (result["failure"], result["left"]) == (None, {})
    (row,) = analyse_run(tmp_path / "run")
    assert (row["status"], row["stay_moved"], row["overhead_bytes"]) == ("ok", 0, 0)


def test_nothing_is_left_after_an_exception(kernel: Kernel, tmp_path: Path) -> None:
    wlan_only = {"attachments": [{"access": "wlan", "at_s": 0.2}], "flows": {"b": FLOW_B}}
    put_job(tmp_path / "failing", make_job(SHORT, wlan_only, engine="host"))
    result = _in_guest(kernel, tmp_path, "exception")
    assert result["failure"] == "flow b: access cell is not registered at the LMA"
    assert result["left"] == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_a_signal(
    kernel: Kernel, tmp_path: Path, number: signal.Signals
) -> None:
    result = _in_guest(kernel, tmp_path, "signalled", number=int(number))
    assert "namespaces" in result["running"], result["output"]
    assert result["left"] == {}
    assert result["status"] == (-number if number == signal.SIGKILL else 130), result["output"]
    assert result["results"] == ["smoke", "smoke/.unfinished"]
    assert "Traceback" not in result["output"]
