"""The command's behaviour towards its shell."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from experiments import cli
from nodes.wire.codec import encode_without_addresses
from nodes.wire.messages import Heartbeat

MANY = 20_000  # more than pipe and buffers take


@pytest.mark.parametrize("lines", [1, MANY])
def test_a_reader_that_has_enough_is_no_error(tmp_path: Path, lines: int) -> None:
    source = tmp_path / "messages.txt"
    line = encode_without_addresses(Heartbeat(1, response=False)).hex()
    source.write_text(f"{line}\n" * lines)
    with subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", "decode", str(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        if lines > 1:
            assert '"Heartbeat"' in command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == ""
    assert command.returncode == 128 + signal.SIGPIPE


def test_a_broken_pipe_elsewhere_is_one(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def broken(_: object) -> NoReturn:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(cli, "_decode", broken)
    assert cli.main(["decode"]) == 1
    assert capsys.readouterr().err == "flowmob: Broken pipe\n"
