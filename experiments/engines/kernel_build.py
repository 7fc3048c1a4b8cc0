"""Builds the guest kernel and puts it into the cache."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from experiments.engines.kernel_boot import check_boot
from experiments.engines.kernel_cache import (
    BUILD_HINT,
    WORK_PREFIX,
    Kernel,
    build_lock,
    find_kernel,
    install,
    sha256_of,
    supports_seccomp,
)
from experiments.engines.kernel_config import (
    FRAGMENT,
    GuestConfig,
    KernelError,
    check_config,
    read_guest_config,
    set_timer_rate,
)
from experiments.engines.kernel_process import run_step
from experiments.engines.kernel_progress import Progress, minutes, say
from experiments.engines.kernel_source import Source, sources

NEEDED_BYTES = 2_500_000_000
"""Package, tarball, tree and object files at the fullest moment; 12 MB stay."""

EXPECTED_STEPS = 1655
"""Lines that the build prints, for the estimate; counted on Linux 7.3."""

CORE_SECONDS = 480
"""What the build takes on one core, for the estimate until the build tells."""

BUILD_TOOLS = ("make", "gcc", "flex", "bison", "bc", "tar", "xz", "strip")

# Nothing of this machine, user or moment goes into the binary.
_REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "2000-01-01",
    "KBUILD_BUILD_USER": "flowmob",
    "KBUILD_BUILD_HOST": "flowmob",
    "KBUILD_BUILD_VERSION": "1",
    "LOCALVERSION": "",
}
# Not used here, but their versions would go into the configuration and so into the binary.
_ABSENT_TOOLS = ("RUSTC=no-rustc", "PAHOLE=no-pahole")

_STEP = re.compile(rb"(?m)^  [A-Z]")


def ensure_kernel() -> Kernel:
    """Return the kernel to use; build one first if there is none."""
    config = read_guest_config()
    try:
        return find_kernel(config)
    except KernelError as error:
        if os.environ.get("FLOWMOB_KERNEL"):
            raise
        missing = error
    if platform.machine() != "x86_64":
        raise KernelError(
            f"{missing}\nUser-Mode Linux needs an x86_64 machine, this is {platform.machine()}"
        )
    _check_tools()
    with build_lock(say) as root:
        try:
            kernel = find_kernel(config)
        except KernelError:
            return _build_first_that_works(root, config)
        say(f"guest kernel: Linux {kernel.version} was built meanwhile by another checkout")
        return kernel


def _build_first_that_works(root: Path, config: GuestConfig) -> Kernel:
    _check_space(root)
    cores = len(os.sched_getaffinity(0))
    say(
        f"guest kernel: built once for all checkouts, into {root}; "
        f"about {minutes(CORE_SECONDS / cores + 60)} min on {cores} cores and "
        f"{NEEDED_BYTES / 1e9:.1f} GB of disk meanwhile"
    )
    failures: list[str] = []
    with tempfile.TemporaryDirectory(
        prefix=WORK_PREFIX, dir=root, ignore_cleanup_errors=True
    ) as name:
        for number, source in enumerate(sources(Path(name))):
            work = Path(name) / f"try{number}"
            work.mkdir()
            try:
                return _build(source, work, root, config, cores)
            except KernelError as error:
                failures.append(f"{source.label}: {error}")
                say(f"guest kernel: {failures[-1]}")
                shutil.rmtree(work, ignore_errors=True)
    raise KernelError(
        "no guest kernel could be built:\n" + "\n".join(failures) + f"\nRemedy: {BUILD_HINT}"
    )


def _build(source: Source, work: Path, root: Path, config: GuestConfig, cores: int) -> Kernel:
    began = time.monotonic()
    say(f"guest kernel: from {source.label}")
    tree = source.prepare(work)
    say("guest kernel: configuring (about 15 s)")
    missing = configure(tree, config)
    version = _make(tree, "-s", "kernelversion").strip().splitlines()[-1]
    compile_kernel(tree, cores)
    binary = tree / "linux"
    run_step(["strip", str(binary)], "stripping the kernel")
    seccomp = supports_seccomp(binary)
    say("guest kernel: checking that it boots and that time travel works (a few seconds)")
    release = _check_boot(binary, seccomp=seccomp)
    digest = sha256_of(binary)
    target = install(
        root,
        work,
        {"linux": binary, "config": tree / ".config"},
        {
            "version": version,
            "release": release,
            "source": source.label,
            "config_digest": config.digest,
            "sha256": digest,
            "supports_seccomp": seccomp,
            "missing_options": missing,
            "compiler": run_step(["gcc", "--version"], "asking gcc").splitlines()[0],
            "built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "build_seconds": round(time.monotonic() - began),
        },
    )
    say(f"guest kernel: Linux {version} ready in {minutes(time.monotonic() - began)}: {target}")
    return Kernel(target / "linux", version, digest, seccomp)


def configure(tree: Path, config: GuestConfig) -> list[str]:
    """Configure a tree for the guest; return the optional options that this version lacks."""
    _make(tree, "mrproper")
    set_timer_rate(tree)
    _make(tree, "tinyconfig")
    run_step(
        ["scripts/kconfig/merge_config.sh", "-m", ".config", str(FRAGMENT)],
        "merging the configuration",
        tree,
        {"ARCH": "um"},
    )
    _make(tree, "olddefconfig")
    dot_config = (tree / ".config").read_text(encoding="utf-8")
    missing = check_config(dot_config, config, f"Linux in {tree.name}")
    if missing:
        say(f"guest kernel: this version lacks (not needed here): {', '.join(missing)}")
    return missing


def compile_kernel(tree: Path, cores: int) -> None:
    """Compile a configured tree, showing progress from the count of make's steps."""
    progress = Progress("compiling", EXPECTED_STEPS, CORE_SECONDS / cores)

    def watch(output: Path) -> None:
        progress.update(len(_STEP.findall(output.read_bytes())))

    try:
        _make(tree, f"-j{cores}", "linux", watch=watch)
    except BaseException:
        progress.abandon()
        raise
    progress.finish()


def _make(tree: Path, *arguments: str, watch: Callable[[Path], None] | None = None) -> str:
    command = ["make", "ARCH=um", *_ABSENT_TOOLS, *arguments]
    # What a make above this one tells its children about jobs and variables is not for this one.
    clean = {"MAKEFLAGS": "", "MFLAGS": "", "MAKELEVEL": "", "MAKEOVERRIDES": ""}
    return run_step(command, " ".join(command), tree, {**_REPRODUCIBLE, **clean}, watch)


def _check_boot(binary: Path, *, seccomp: bool) -> str:
    """Return the release that the booted kernel reports.

    A machine may forbid seccomp inside a container; the kernel is good all the same, since a guest
    can do with ptrace, so either way of running it will do.
    """
    if seccomp:
        try:
            return check_boot(binary, seccomp=True).release
        except KernelError as error:
            say(f"guest kernel: does not run with seccomp here, trying ptrace ({error})")
    return check_boot(binary, seccomp=False).release


def _check_tools() -> None:
    lacking = [tool for tool in BUILD_TOOLS if not shutil.which(tool)]
    if lacking:
        raise KernelError(
            f"building the guest kernel needs {', '.join(lacking)}; "
            "run `make packages` to install what setup/packages.txt lists"
        )


def _check_space(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < NEEDED_BYTES:
        raise KernelError(
            f"building the guest kernel needs {NEEDED_BYTES / 1e9:.1f} GB in {root}, "
            f"only {free / 1e9:.1f} GB are free; make room or set XDG_CACHE_HOME to another disk"
        )
