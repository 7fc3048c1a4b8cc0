from pathlib import Path

import pytest

from experiments import doctor
from experiments.doctor import Finding, Report, main, render
from experiments.engines.features import FOR_SWITCHES, NEEDED, MissingFeature
from experiments.engines.kernel_boot import Boot
from experiments.engines.kernel_cache import BUILD_HINT, Kernel
from experiments.engines.kernel_config import KernelError

KERNEL = Kernel(Path("/cache/linux"), "7.3.4", "ab", supports_seccomp=True)
OK = Finding("ok", "x", "fine")


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine on which everything is right."""
    for check in (
        "check_python",
        "check_venv",
        "check_results_disk",
        "check_build_disk",
        "check_executable_memory",
        "check_memory",
        "check_load",
        "check_root",
        "check_mnexec",
    ):
        monkeypatch.setattr(doctor, check, lambda: OK)
    monkeypatch.setattr(doctor, "check_packages", lambda _: [OK])
    monkeypatch.setattr(doctor, "find_kernel", lambda: KERNEL)
    monkeypatch.setattr(doctor, "check_boot", lambda _, *, seccomp: Boot("7.3.4", 0.1))
    monkeypatch.setattr(doctor, "missing_features", lambda _: [])
    return monkeypatch


def no_boot(_: Path, *, seccomp: bool) -> Boot:
    raise KernelError("the guest did not boot")


def only_ptrace(_: Path, *, seccomp: bool) -> Boot:
    if seccomp:
        raise KernelError("seccomp is not permitted")
    return Boot("7.3.4", 0.3)


def no_kernel() -> Kernel:
    raise KernelError(f"no guest kernel: none; {BUILD_HINT}")


def test_healthy_machine(healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main() == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line[:1].strip()]
    assert titles == ["virtual (default): ready", "realtime: ready", "host: ready"]


def test_paper_without_latex_is_a_note_with_a_remedy(
    healthy: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy.setenv("PATH", str(tmp_path))
    assert main() == 0
    shown = capsys.readouterr().out
    assert "note   LaTeX" in shown
    assert "paper.tex without a paper.pdf" in shown
    assert "-> install texlive-latex-recommended" in shown
    program = tmp_path / "pdflatex"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert main() == 0
    assert f"ok     LaTeX         {program}" in " ".join(capsys.readouterr().out.splitlines()[3:5])


def test_host_that_lacks_features_is_no_failure(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = MissingFeature("netem", "delay of the links", "load sch_netem", "Error: unknown")
    healthy.setattr(doctor, "missing_features", lambda names: [missing] if names == NEEDED else [])
    assert main() == 0
    output = capsys.readouterr().out
    assert "virtual (default): ready" in output
    assert "host: cannot run" in output
    assert "delay of the links: Error: unknown" in output
    assert "-> load sch_netem" in output


def test_a_kernel_without_open_vswitch_runs_all_else(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = MissingFeature("Open vSwitch datapath", "switches", "load openvswitch", "no family")
    healthy.setattr(
        doctor, "missing_features", lambda names: [missing] if names == FOR_SWITCHES else []
    )
    assert main() == 0
    output = capsys.readouterr().out
    assert "host: ready" in output
    assert "switches: no family" in output
    assert "-> load openvswitch" in output
    assert "Open vSwitch datapath" not in output.partition("kernel has")[2]


def test_missing_kernel_fails_with_the_remedy(
    healthy: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy.setattr(doctor, "find_kernel", no_kernel)
    assert main() == 1
    output = capsys.readouterr().out
    assert "-> run `make kernel`" in output
    assert BUILD_HINT not in output
    assert "host: ready" in output


def test_wrong_named_kernel_has_its_own_remedy(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(doctor, "find_kernel", no_kernel)
    healthy.setenv("FLOWMOB_KERNEL", "/x")
    (finding,), kernel = doctor.check_kernel()
    assert kernel is None
    assert "FLOWMOB_KERNEL" in finding.remedy


def test_guest_that_does_not_boot_fails(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(doctor, "check_boot", no_boot)
    assert main() == 1
    assert [report.usable for report in doctor.examine()] == [False, False, True]


def test_machine_without_seccomp_runs_and_says_so(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(doctor, "check_boot", only_ptrace)
    assert main() == 0
    findings, _ = doctor.check_kernel()
    assert [finding.state for finding in findings] == ["ok", "ok", "note"]
    assert findings[-1].subject == "seccomp"


def test_findings_without_ok_have_a_remedy(healthy: pytest.MonkeyPatch) -> None:
    healthy.setattr(doctor, "check_boot", no_boot)
    for report in doctor.examine():
        for finding in report.findings:
            assert finding.state == "ok" or finding.remedy


def test_render_aligns_and_keeps_one_line_per_finding() -> None:
    report = Report("host", (OK, Finding("LACKS", "longer", "two\nlines", "do this")))
    assert render(report).splitlines() == [
        "host: cannot run on this machine as it is",
        "  ok     x       fine",
        "  LACKS  longer  two lines",
        "                 -> do this",
    ]


def test_packages_for_building_matter_only_without_a_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packages = doctor.read_package_list()
    assert packages["mininet"] is False
    assert packages["flex"] is True
    listing = "\n".join(f"{name} installed" for name in packages if name != "flex")
    monkeypatch.setattr(doctor, "_ask", lambda *_, **__: f"{listing}\nflex not-installed")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name)
    assert [finding.state for finding in doctor.check_packages(True)] == ["note"]
    (finding,) = doctor.check_packages(False)
    assert (finding.state, finding.detail) == ("LACKS", "not installed: flex")


def test_few_memory_limits_the_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    for kilobytes, state in ((4_000_000, "ok"), (300_000, "note"), (50_000, "LACKS")):
        meminfo.write_text(f"MemTotal: 1 kB\nMemAvailable:  {kilobytes} kB\n")
        assert doctor.check_memory(meminfo).state == state


def test_folder_that_is_not_there_cannot_hold_guest_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert doctor.check_executable_memory().state == "ok"
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    finding = doctor.check_executable_memory()
    assert finding.state == "LACKS"
    assert "TMPDIR" in finding.remedy
