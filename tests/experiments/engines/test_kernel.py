import subprocess
import sys
from pathlib import Path

import pytest

from experiments.engines import kernel

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FLOWMOB_KERNEL", raising=False)


def test_find_without_a_kernel_fails_with_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel.main(["find"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: no guest kernel")


def test_clean_of_an_empty_cache(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel.main(["clean"]) == 0
    assert "no guest kernel in" in capsys.readouterr().out


def test_unknown_command_is_refused() -> None:
    with pytest.raises(SystemExit):
        kernel.main(["rebuild"])


def test_runs_on_the_bare_standard_library() -> None:
    """Before the virtual environment exists, nothing but the distribution's Python is there."""
    # -S leaves out every folder of installed packages.
    code = "import experiments.engines.kernel, experiments.doctor"
    result = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
