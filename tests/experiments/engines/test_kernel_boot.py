from pathlib import Path

import pytest

from experiments.engines.kernel_boot import boot_command, check_boot, read_report
from experiments.engines.kernel_config import KernelError

KERNEL = Path("/cache/linux")
GOOD = 'flowmob-boot {"release": "7.3.4", "uid": 0, "start": 1700000000.1, "slept": 3600.0}'


def test_report_is_found_among_other_lines() -> None:
    boot = read_report(KERNEL, f"Checking PROT_EXEC...OK\n{GOOD}\nhalted\n", 0.5)
    assert (boot.release, boot.wall_seconds) == ("7.3.4", 0.5)


def test_guest_that_does_not_boot_shows_its_last_lines() -> None:
    with pytest.raises(KernelError, match="did not boot") as caught:
        read_report(KERNEL, "Checking PROT_EXEC mmap in /dev/shm...Operation not permitted\n", 0.5)
    assert "PROT_EXEC mmap" in str(caught.value)


@pytest.mark.parametrize(("field", "wrong"), [("3600.0", "0.2"), ("1700000000.1", "1800000000.1")])
def test_clock_that_does_not_travel_is_an_error(field: str, wrong: str) -> None:
    with pytest.raises(KernelError, match="time travel does not work"):
        read_report(KERNEL, GOOD.replace(field, wrong), 0.5)


def test_command_asks_for_seccomp_only_where_it_is_known(tmp_path: Path) -> None:
    assert "seccomp=on" in boot_command(KERNEL, tmp_path / "init", tmp_path, "on")
    plain = boot_command(KERNEL, Path("/i"), Path("/u"), None)
    assert not any("seccomp" in word for word in plain)


def test_program_that_is_no_kernel() -> None:
    with pytest.raises(KernelError, match="did not boot"):
        check_boot(Path("/bin/true"), seccomp=True)
    with pytest.raises(KernelError, match="cannot start"):
        check_boot(Path("/etc/passwd"), seccomp=True)
