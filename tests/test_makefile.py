import os
import re
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
MAKEFILE = (CHECKOUT / "Makefile").read_text()
INSTALLER = CHECKOUT / "setup/install-packages.sh"
INTERNAL = {"ready", "need-exp"}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "-C", str(CHECKOUT), "--no-print-directory", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=clean,
    )


def test_help_lists_every_target_in_a_line_each() -> None:
    targets = set(re.findall(r"(?m)^\.PHONY: ([a-z-]+)$", MAKEFILE)) - INTERNAL
    listed = re.findall(r"(?m)^make ([a-z-]+) +\S", make("help").stdout)
    assert sorted(listed) == sorted(targets)
    assert {
        "all",
        "test",
        "help",
        "doctor",
        "smoke",
        "bench",
        "lint",
        "clean",
        "run",
        "figures",
    } <= (targets)


def test_main_job_is_the_default() -> None:
    commands = make("--dry-run").stdout
    assert "flowmob run prefix-models --engine virtual --seeds 6 --jobs " in commands


def test_run_has_ten_seeds_unless_told() -> None:
    assert "run x --engine virtual --seeds 10" in make("--dry-run", "run", "EXP=x").stdout
    told = make("--dry-run", "run", "EXP=x", "ENGINE=realtime", "SEEDS=3", "JOBS=1").stdout
    assert "run x --engine realtime --seeds 3 --jobs 1" in told


def test_host_engine_needs_no_guest_kernel() -> None:
    assert "engines.kernel build" in make("--dry-run", "run", "EXP=x").stdout
    assert "engines.kernel build" not in make("--dry-run", "run", "EXP=x", "ENGINE=host").stdout


@pytest.mark.parametrize("target", ["run", "figures"])
def test_experiment_has_to_be_named(target: str) -> None:
    result = make(target)
    assert result.returncode != 0
    assert "Say EXP=name" in result.stderr


def test_clean_spares_reference_results_and_the_shared_cache() -> None:
    commands = make("--dry-run", "clean").stdout
    assert "! -name reference" in commands
    assert not re.search(r"rm .*(cache/flowmob|XDG_CACHE_HOME|HOME)", commands)


def test_lock_is_exact_and_names_no_place() -> None:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def install(
    bin_folder: Path, *, missing: str, uid: int, sudo: bool
) -> subprocess.CompletedProcess[str]:
    """Run the installer with fake dpkg-query, apt-get, id and, perhaps, sudo."""
    bin_folder.mkdir()
    for tool in ("sh", "sed", "head", "tail", "dirname", "mktemp", "rm", "env"):
        (bin_folder / tool).symlink_to(f"/usr/bin/{tool}")
    log = bin_folder / "log"
    write_program(
        bin_folder / "dpkg-query",
        f'for p; do :; done; [ "$p" = "{missing}" ] && exit 1; echo installed',
    )
    write_program(bin_folder / "apt-get", f'echo "apt-get $*" >> {log}')
    write_program(bin_folder / "id", f"echo {uid}")
    if sudo:
        write_program(bin_folder / "sudo", f'echo sudo >> {log}; "$@"')
    return subprocess.run(
        ["/bin/sh", str(INSTALLER)],
        env={"PATH": str(bin_folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_missing_asks_nobody_and_says_nothing(tmp_path: Path) -> None:
    result = install(tmp_path / "bin", missing="", uid=1000, sudo=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert not (tmp_path / "bin/log").exists()


def test_root_updates_the_lists_and_installs_what_is_missing(tmp_path: Path) -> None:
    result = install(tmp_path / "bin", missing="bison", uid=0, sudo=False)
    assert result.returncode == 0, result.stderr
    update, command = (tmp_path / "bin/log").read_text().splitlines()
    assert update == "apt-get update"
    assert command.endswith("install --yes --no-install-recommends bison")


def test_user_goes_through_sudo(tmp_path: Path) -> None:
    assert install(tmp_path / "bin", missing="bison", uid=1000, sudo=True).returncode == 0
    assert (tmp_path / "bin/log").read_text().splitlines()[0::2] == ["sudo", "sudo"]


def test_neither_root_nor_sudo_gets_the_exact_command(tmp_path: Path) -> None:
    result = install(tmp_path / "bin", missing="bison", uid=1000, sudo=False)
    assert result.returncode == 1
    assert "install --yes --no-install-recommends bison" in result.stderr
    assert "apt-get update" in result.stderr
    assert not (tmp_path / "bin/log").exists()
