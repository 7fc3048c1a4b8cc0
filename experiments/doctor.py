"""`flowmob doctor`: what this machine has and lacks for each engine, with the remedy.

Standard library only, so that `make doctor` works on a machine where nothing is set up yet.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.engines.features import (
    FEATURES,
    FOR_SWITCHES,
    NEEDED,
    MissingFeature,
    missing_features,
)
from experiments.engines.kernel_boot import check_boot
from experiments.engines.kernel_build import NEEDED_BYTES
from experiments.engines.kernel_cache import BUILD_HINT, Kernel, find_kernel, kernels_dir
from experiments.engines.kernel_config import KernelError

CHECKOUT = Path(__file__).resolve().parent.parent
PACKAGE_LIST = CHECKOUT / "setup" / "packages.txt"
BUILD_SECTION = "Building the guest kernel"
SYSTEM_PYTHON = Path("/usr/bin/python3")
OLDEST_PYTHON = (3, 11)
VENV_MODULES = (
    *("matplotlib", "msgspec", "numpy", "os_ken", "pandas", "scapy", "scipy"),
    *("mininet", "nftables", "experiments"),
)
LATEX = "pdflatex"
# With what paper.tex uses of it, in Debian and Ubuntu.
LATEX_PACKAGES = "texlive-latex-recommended and texlive-fonts-recommended"
RESULT_BYTES = 1_000_000_000
GUEST_BYTES = 128 * 1024 * 1024
PROBE_SECONDS = 30.0

State = Literal["ok", "note", "LACKS"]


@dataclass(frozen=True)
class Finding:
    """One line of the table. `LACKS` means that the engine can't run."""

    state: State
    subject: str
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Report:
    """All findings for one engine."""

    engine: str
    findings: tuple[Finding, ...]

    @property
    def usable(self) -> bool:
        """Whether the engine can run."""
        return all(finding.state != "LACKS" for finding in self.findings)


def main() -> int:
    """Print the table; fail only if the default engine can't run."""
    reports = examine()
    print("\n\n".join(render(report) for report in reports))
    return 0 if reports[0].usable else 1


def examine() -> list[Report]:
    """Check the machine for each engine, the default one first."""
    kernel_findings, kernel = check_kernel()
    packages = check_packages(kernel is not None)
    common = [check_python(), *packages, check_venv(), check_latex(), check_results_disk()]
    if kernel is None:
        common.append(check_build_disk())
    guest = [*common, *kernel_findings, check_executable_memory(), check_memory()]
    return [
        Report("virtual", tuple(guest)),
        Report("realtime", (*guest, check_load())),
        Report("host", (*common, check_root(), check_mnexec(), *check_features())),
    ]


def render(report: Report) -> str:
    """Return the table of one engine."""
    title = "virtual (default)" if report.engine == "virtual" else report.engine
    lines = [f"{title}: {'ready' if report.usable else 'cannot run on this machine as it is'}"]
    width = max(len(finding.subject) for finding in report.findings)
    for finding in report.findings:
        detail = " ".join(finding.detail.split())
        lines.append(f"  {finding.state:<5}  {finding.subject:<{width}}  {detail}")
        if finding.remedy:
            lines.append(f"  {'':<5}  {'':<{width}}  -> {finding.remedy}")
    return "\n".join(lines)


def check_python() -> Finding:
    """The distribution's Python has to be new enough."""
    version = _ask([str(SYSTEM_PYTHON), "-c", "import sys; print(*sys.version_info[:3], sep='.')"])
    wanted = ".".join(map(str, OLDEST_PYTHON))
    if version is None:
        return Finding("LACKS", "python3", f"no {SYSTEM_PYTHON}", "run `make packages`")
    if tuple(map(int, version.split(".")[:2])) < OLDEST_PYTHON:
        return Finding(
            "LACKS",
            "python3",
            f"{SYSTEM_PYTHON} is {version}, {wanted} is needed",
            "use Debian 12 or Ubuntu 24.04 or newer",
        )
    return Finding("ok", "python3", f"{SYSTEM_PYTHON} {version}")


def read_package_list(path: Path = PACKAGE_LIST) -> dict[str, bool]:
    """Return the packages, and for each whether it is only for building the kernel. One that not
    every distribution has ("?") is left out: the engines don't need it."""
    packages = {}
    building = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            building = line.removeprefix("# ").startswith(BUILD_SECTION)
        elif (name := line.partition("#")[0].strip()) and not name.endswith("?"):
            packages[name] = building
    return packages


def check_packages(have_kernel: bool) -> list[Finding]:
    """Packages for building count only as long as there is no kernel."""
    packages = read_package_list()
    if not shutil.which("dpkg-query"):
        return [Finding("note", "packages", "not checked: no dpkg", f"see {PACKAGE_LIST}")]
    listing = _ask(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages],
        failure_is_answer=True,
    )
    installed = set(re.findall(r"(?m)^(\S+) installed$", listing or ""))
    missing = [name for name in packages if name not in installed]
    if not missing:
        return [Finding("ok", "packages", f"all {len(packages)} installed")]
    findings = []
    for state, names in (
        ("LACKS", [name for name in missing if not (packages[name] and have_kernel)]),
        ("note", [name for name in missing if packages[name] and have_kernel]),
    ):
        if names:
            detail = f"not installed: {', '.join(names)}"
            if state == "note":
                findings.append(Finding("note", "packages", f"{detail} (only to build a kernel)"))
            else:
                findings.append(Finding("LACKS", "packages", detail, "run `make packages`"))
    return findings


def check_venv() -> Finding:
    """The virtual environment has to be there and see the distribution's modules."""
    python = CHECKOUT / ".venv" / "bin" / "python"
    remedy = "run `make venv`; if that does nothing, `rm -r .venv` first"
    if not python.exists():
        return Finding("LACKS", "venv", f"no {python}", remedy)
    code = (
        "import importlib.util as u, sys; "
        "print(*[m for m in sys.argv[1:] if u.find_spec(m) is None])"
    )
    missing = _ask([str(python), "-c", code, *VENV_MODULES])
    if missing is None:
        return Finding("LACKS", "venv", f"{python} does not start", remedy)
    if missing:
        return Finding("LACKS", "venv", f"modules not found: {', '.join(missing.split())}", remedy)
    return Finding("ok", "venv", str(python.parent.parent))


def check_latex() -> Finding:
    """`make paper` compiles its document where it can."""
    if path := shutil.which(LATEX):
        return Finding("ok", "LaTeX", path)
    detail = f"no {LATEX}: `make paper` leaves paper.tex without a paper.pdf, all else works"
    return Finding("note", "LaTeX", detail, f"install {LATEX_PACKAGES}, if you want it")


def check_kernel() -> tuple[list[Finding], Kernel | None]:
    """The guest kernel has to be there and boot; how it runs processes decides its speed."""
    try:
        kernel = find_kernel()
    except KernelError as error:
        remedy = "run `make kernel` (about 5 min)"
        if os.environ.get("FLOWMOB_KERNEL"):
            remedy = "unset FLOWMOB_KERNEL, or set it to another kernel"
        detail = str(error).removesuffix(f"; {BUILD_HINT}")
        return [Finding("LACKS", "guest kernel", detail, remedy)], None
    found = Finding("ok", "guest kernel", f"Linux {kernel.version}, {kernel.path}")
    if not kernel.supports_seccomp:
        newer = "`make clean-kernel kernel KERNEL_SOURCE=...` with Linux 6.16 or newer"
        found = Finding("note", found.subject, f"{found.detail}: slow, knows only ptrace", newer)
    else:
        try:
            boot = check_boot(kernel.path, seccomp=True)
        except KernelError as error:
            found_seccomp = str(error)
        else:
            return [found, _booted("with seccomp", boot.wall_seconds)], kernel
    try:
        boot = check_boot(kernel.path, seccomp=False)
    except KernelError as error:
        remedy = (
            "allow ptrace (kernel.yama.ptrace_scope below 3; in a container a seccomp profile "
            "that permits ptrace), then see the other findings; or rebuild: "
            "`make clean-kernel kernel`"
        )
        return [found, Finding("LACKS", "guest boot", str(error), remedy)], kernel
    findings = [found, _booted("with ptrace", boot.wall_seconds)]
    if kernel.supports_seccomp:
        remedy = "permit seccomp and process_vm_readv here (container profile): runs get 3x faster"
        findings.append(Finding("note", "seccomp", found_seccomp, remedy))
    return findings, kernel


def check_executable_memory() -> Finding:
    """UML maps its memory executable from a file in TMPDIR, /dev/shm or /tmp."""
    named = [value for name in ("TMPDIR", "TMP", "TEMP") if (value := os.environ.get(name))]
    folder = named[0] if named else "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.truncate(mmap.PAGESIZE)
            access = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
            mmap.mmap(file.fileno(), mmap.PAGESIZE, mmap.MAP_SHARED, access).close()
    except OSError as error:
        return Finding(
            "LACKS",
            "guest memory",
            f"{folder} cannot hold executable memory: {error.strerror}",
            "set TMPDIR to a folder that is writable and not mounted noexec",
        )
    return Finding("ok", "guest memory", f"{folder} can hold executable memory")


def check_memory(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """One guest per core has to fit."""
    match = re.search(r"(?m)^MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="utf-8"))
    available = int(match[1]) * 1024 if match else 0
    cores = len(os.sched_getaffinity(0))
    detail = f"{available / 1e9:.1f} GB available, {GUEST_BYTES / 1e6:.0f} MB per guest"
    if available < GUEST_BYTES:
        return Finding("LACKS", "memory", detail, "close other programs")
    if available < GUEST_BYTES * cores:
        fit = available // GUEST_BYTES
        return Finding("note", "memory", f"{detail}, {cores} cores", f"run with JOBS={fit}")
    return Finding("ok", "memory", detail)


def check_results_disk() -> Finding:
    """Results have to fit into the checkout."""
    return _check_disk("disk (results)", CHECKOUT, RESULT_BYTES, "note", "make room")


def check_build_disk() -> Finding:
    """The kernel build needs room in the cache."""
    folder = next(path for path in (kernels_dir(), *kernels_dir().parents) if path.exists())
    remedy = "make room or set XDG_CACHE_HOME to a folder on another disk"
    return _check_disk("disk (kernel)", folder, NEEDED_BYTES, "LACKS", remedy)


def check_load() -> Finding:
    """In real time a busy machine measures itself."""
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    detail = f"load {load:.1f} on {cores} cores"
    if load > cores / 2:
        return Finding("note", "load", detail, "real-time results need an idle machine")
    return Finding("ok", "load", detail)


def check_root() -> Finding:
    """The host engine changes this machine's network."""
    if os.geteuid() == 0:
        return Finding("ok", "root", "yes")
    return Finding("LACKS", "root", "no", "run `sudo make run ENGINE=host EXP=...`")


def check_mnexec() -> Finding:
    """Mininet enters namespaces with a program of its own."""
    if path := shutil.which("mnexec"):
        return Finding("ok", "mnexec", path)
    return Finding("LACKS", "mnexec", "not found", "run `make packages` (PyPI's Mininet has none)")


def check_features() -> Iterator[Finding]:
    """What this kernel lacks for the topology, each tried in a throwaway namespace."""
    missing = missing_features(NEEDED)
    yield from _lacks("LACKS", missing)
    absent = {feature.name for feature in missing}
    if "network namespaces" in absent:
        return
    for_switches = missing_features(FOR_SWITCHES)
    yield from _lacks("note", for_switches)
    absent |= {feature.name for feature in for_switches}
    present = [name for name in FEATURES if name not in absent]
    if present:
        yield Finding("ok", "kernel has", ", ".join(present))


def _lacks(state: State, missing: Iterable[MissingFeature]) -> Iterator[Finding]:
    for feature in missing:
        detail = f"{feature.why}: {feature.error}" if feature.error else feature.why
        yield Finding(state, feature.name, detail, feature.remedy)


def _booted(how: str, seconds: float) -> Finding:
    detail = f"{how}, time travel works, {seconds:.1f} s to boot and halt"
    return Finding("ok", "guest boot", detail)


def _check_disk(subject: str, folder: Path, needed: int, state: State, remedy: str) -> Finding:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free in {folder}"
    if free < needed:
        return Finding(state, subject, f"{detail}, {needed / 1e9:.1f} GB are needed", remedy)
    return Finding("ok", subject, detail)


def _ask(command: list[str], *, failure_is_answer: bool = False) -> str | None:
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
            cwd=CHECKOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode != 0 and not failure_is_answer:
        return None
    return answer.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
