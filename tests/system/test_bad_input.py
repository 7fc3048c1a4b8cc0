"""Bad input ends with one message: what, where and what was expected. No results are half there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import runner
from experiments.cli import main
from experiments.engines.kernel_cache import Kernel
from experiments.provenance import FORMAT

GOOD = """
question = "?"
why_these_runs = "."
[base]
duration_s = 7.0
flows.a = { kind = "udp", anchor = "wlan", start = "wlan", port = 5001, until_s = 6.5 }
moves = [{ flow = "a", to = "cell", at_s = 5.0 }]
topology.links.cell.delay_ms = 20.0
[parts.p]
"""


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of experiments, one of which is `trial`; results would go to `results` in it."""
    (tmp_path / "trial.toml").write_text(GOOD)
    monkeypatch.setattr("experiments.declaration.experiment.EXPERIMENTS", tmp_path)
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    return tmp_path


def _refused(
    bench: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str
) -> str:
    """The one line of the message, which has all the words; nothing was written."""
    before = {path: path.read_bytes() for path in bench.rglob("*") if path.is_file()}
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (message,) = shown.err.splitlines()
    assert message.startswith("flowmob: ")
    for word in words:
        assert word in message, message
    assert {path: path.read_bytes() for path in bench.rglob("*") if path.is_file()} == before
    return message


def test_unknown_experiment(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bench / "other.toml").write_text(GOOD)
    for command in ("run", "figures"):
        _refused(bench, capsys, [command, "tiral"], "'tiral'", "expected one of other, trial")


@pytest.mark.parametrize(
    ("line", "replacement", "words"),
    [
        ("duration_s = 7.0", "duratoin_s = 7.0", ["duratoin_s", "duration_s"]),
        ("question =", "qestion =", ["qestion"]),
        ("topology.links.cell.delay_ms", "topology.links.cell.delay", ["cell.delay", "20.0"]),
        ("port = 5001", "prot = 5001", ["flows", "prot"]),
        ("duration_s = 7.0", 'duration_s = "long"', ["duration_s", "'long'", "float"]),
        ("port = 5001", 'port = "5001"', ["flows", "port", "'5001'", "int"]),
        ("moves = [{", 'moves = "a" #', ["moves", "'a'", "array"]),
        ("delay_ms = 20.0", "delay_ms = -3.5", ["links.cell.delay_ms", "-3.5", ">= 0"]),
        ("duration_s = 7.0", "duration_s = -7.0", ["duration_s", "-7.0", "> 0"]),
        ('to = "cell"', 'to = "moon"', ["moves[0].to", "'moon'", "wlan, cell"]),
        ("at_s = 5.0", "at_s = -5.0", ["at_s", "-5.0", ">= 0"]),
        ("[base]", "[base", ["TOML"]),
        ("[parts.p]", 'figures = ["pie"]\n[parts.p]', ["figures", "pie"]),
    ],
)
def test_wrong_experiment(
    bench: Path,
    capsys: pytest.CaptureFixture[str],
    line: str,
    replacement: str,
    words: list[str],
) -> None:
    assert line in GOOD
    text = GOOD.replace(line, replacement)
    if "pie" in replacement:
        text = 'figures = ["pie"]\n' + GOOD
    (bench / "trial.toml").write_text(text)
    _refused(bench, capsys, ["run", "trial"], "trial.toml", *words)


def test_unknown_engine(bench: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "trial", "--engine", "warp"])
    assert end.value.code == 2
    message = capsys.readouterr().err.splitlines()[-1]
    for word in ("--engine", "'warp'", "virtual", "realtime", "host"):
        assert word in message
    assert not (bench / "results").exists()


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5"])
def test_impossible_number_of_seeds(
    bench: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", "trial", "--seeds", number])
    assert end.value.code == 2
    assert repr(number) in capsys.readouterr().err.splitlines()[-1]
    assert not (bench / "results").exists()


@pytest.mark.parametrize("engine", ["virtual", "realtime"])
def test_no_kernel(
    bench: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
) -> None:
    arguments = ["run", "trial", "--engine", engine]
    monkeypatch.delenv("FLOWMOB_KERNEL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(bench / "empty"))
    _refused(bench, capsys, arguments, "no guest kernel", str(bench / "empty"), "make kernel")
    for path, expected in (
        (str(bench / "nowhere"), "expected an executable UML kernel"),
        (str(bench / "trial.toml"), "expected an executable UML kernel"),
        ("/bin/true", "is no UML kernel"),
    ):
        monkeypatch.setenv("FLOWMOB_KERNEL", path)
        _refused(bench, capsys, arguments, f"FLOWMOB_KERNEL={path}", expected)


def test_kernel_that_lacks_something(
    bench: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kernel: Kernel,
) -> None:
    lesser = bench / "linux"
    lesser.write_text(f'#!/bin/sh\n"{kernel.path}" "$1" | sed /CONFIG_NET_SCH_NETEM/d\n')
    lesser.chmod(0o755)
    monkeypatch.setenv("FLOWMOB_KERNEL", str(lesser))
    _refused(bench, capsys, ["run", "trial"], str(lesser), "lacks", "NET_SCH_NETEM")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (None, ["has no results yet", "make run EXP=trial"]),
        (f'{{"format": {FORMAT + 1}}}', ["format", str(FORMAT + 1), f"expected {FORMAT}"]),
        ("{}", ["format", f"expected {FORMAT}"]),
        ("[]", ["format", f"expected {FORMAT}"]),
        ("no JSON", ["format", f"expected {FORMAT}"]),
    ],
)
def test_results_of_another_version(
    bench: Path, capsys: pytest.CaptureFixture[str], written: str | None, words: list[str]
) -> None:
    folder = bench / "results" / "trial"
    folder.mkdir(parents=True)
    if written is not None:
        (folder / "results.json").write_text(written)
    _refused(bench, capsys, ["figures", "trial"], str(folder), *words)


def _own_mounts() -> list[str]:
    """The start of a command that may mount, for itself alone; skips where that is forbidden."""
    for options in (["--mount"], ["--mount", "--map-root-user"]):
        command = ["unshare", *options, "--"]
        probe = [*command, "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
        if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("this system lets us mount nothing, so there is no small disk to fill")


def _in_small_disk(
    tmp_path: Path, kernel: Kernel, size: str, script: str
) -> subprocess.CompletedProcess[str]:
    """Run `script` with a disk of `size` for the results; "$@" in it is the command flowmob."""
    results = tmp_path / "results"
    results.mkdir()
    mounted = f'mount -t tmpfs -o size={size} tmpfs "$FLOWMOB_RESULTS" || exit 99\n{script}'
    return subprocess.run(
        [
            *(*_own_mounts(), "sh", "-c", mounted, "sh"),
            *(sys.executable, "-m", "experiments.cli"),
        ],
        env={**os.environ, "FLOWMOB_RESULTS": str(results), "FLOWMOB_KERNEL": str(kernel.path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )


def _full_disk_message(done: subprocess.CompletedProcess[str], results: Path) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (message,) = done.stderr.splitlines()
    assert message.startswith(f"flowmob: {results}/smoke")
    assert message.endswith(": No space left on device")


@pytest.mark.parametrize("size", ["4k", "64k", "512k", "800k"])
def test_full_disk_in_a_run(kernel: Kernel, tmp_path: Path, size: str) -> None:
    """The run's own files don't fit: the job, the logs, the captures."""
    script = '"$@" smoke; status=$?; find results -type f > listing; exit $status'
    done = _in_small_disk(tmp_path, kernel, size, script)
    _full_disk_message(done, tmp_path / "results")
    assert (tmp_path / "listing").read_text() == ""


@pytest.mark.parametrize("command", ["smoke", "figures smoke"])
def test_full_disk_after_the_runs(kernel: Kernel, tmp_path: Path, command: str) -> None:
    """Tables and figures don't fit any more; the ones that are there stay as they are."""
    script = f"""
        "$@" smoke > /dev/null || exit 98
        cp /dev/zero results/filler 2> /dev/null
        find results/smoke -type f -exec sha256sum {{}} + | sort > before
        "$@" {command}
        status=$?
        find results/smoke -type f -exec sha256sum {{}} + | sort > after
        exit $status
    """
    done = _in_small_disk(tmp_path, kernel, "1500k", script)
    _full_disk_message(done, tmp_path / "results")
    before = (tmp_path / "before").read_text()
    assert "results/smoke/runs.csv" in before
    assert "results/smoke/figures/run-detail.pdf" in before
    assert (tmp_path / "after").read_text() == before
