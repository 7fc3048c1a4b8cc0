import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from experiments.engines import kernel, kernel_build
from experiments.engines.kernel_boot import MARK, START_NS
from experiments.engines.kernel_cache import kernels_dir
from experiments.engines.kernel_config import KernelError, read_guest_config

MAKE = """#!/bin/sh
for goal; do :; done
echo "make $goal" >> {log}
case $goal in
kernelversion) echo 9.1.2;;
olddefconfig) cp {final_config} .config;;
linux)
    echo '  CC      init/main.o'
    {compile}
    cp {binary} linux;;
esac
"""
BINARY = """#!/bin/sh
case $1 in
--help) echo 'seccomp=<on/auto/off>';;
*) echo '{mark}{{"release": "9.1.2", "uid": 0, "start": {start}, "slept": 3600.0}}';;
esac
"""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Bench:
    """A fake kernel tree and fake build tools."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "make.log"
        config = read_guest_config()
        options = [*config.required, *config.optional, "SYSCTL"]
        self.final_config = root / "final.config"
        self.final_config.write_text(
            "CONFIG_HZ=1000\n" + "".join(f"CONFIG_{name}=y\n" for name in options)
        )
        self.tree = root / "tree"
        (self.tree / "arch/um").mkdir(parents=True)
        (self.tree / "arch/um/Kconfig").write_text("config HZ\n\tint\n\tdefault 100\n")
        (self.tree / "Kconfig").write_text("")
        write_program(self.tree / "scripts/kconfig/merge_config.sh", "#!/bin/sh\n")
        write_program(root / "bin/strip", "#!/bin/sh\n")
        write_program(root / "bin/gcc", "#!/bin/sh\necho fake gcc\n")
        for tool in ("flex", "bison", "bc"):
            write_program(root / f"bin/{tool}", "#!/bin/sh\n")
        start = START_NS / 1e9
        self.binary = write_program(root / "binary", BINARY.format(mark=MARK, start=start))
        self.compiles_with(":")

    def compiles_with(self, command: str) -> None:
        text = MAKE.format(
            log=self.log, final_config=self.final_config, binary=self.binary, compile=command
        )
        write_program(self.root / "bin/make", text)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KERNEL_SOURCE", str(made.tree))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("FLOWMOB_KERNEL", raising=False)
    monkeypatch.setattr(kernel_build.platform, "machine", lambda: "x86_64")
    return made


def folders() -> list[str]:
    return [path.name for path in kernels_dir().iterdir() if path.is_dir()]


def test_build_installs_a_complete_kernel(bench: Bench) -> None:
    built = kernel_build.ensure_kernel()
    config = read_guest_config()
    assert folders() == [f"9.1.2-{config.digest}"]
    assert built.path == kernels_dir() / folders()[0] / "linux"
    assert built.supports_seccomp
    meta = json.loads((built.path.parent / "meta.json").read_text())
    assert meta["version"] == "9.1.2"
    assert meta["source"] == f"tree {bench.tree}"
    assert meta["missing_options"] == []
    assert meta["sha256"] == built.sha256
    assert (built.path.parent / "config").read_text() == bench.final_config.read_text()
    assert kernel_build.find_kernel(config) == built


def test_tree_of_the_user_is_not_changed(bench: Bench) -> None:
    kernel_build.ensure_kernel()
    assert (bench.tree / "arch/um/Kconfig").read_text() == "config HZ\n\tint\n\tdefault 100\n"
    assert not (bench.tree / ".config").exists()


def test_second_call_builds_nothing_and_says_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    first = kernel_build.ensure_kernel()
    bench.log.unlink()
    capsys.readouterr()
    assert kernel_build.ensure_kernel() == first
    assert not bench.log.exists()
    assert capsys.readouterr().out == ""


def test_failed_build_leaves_nothing_and_shows_why(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.compiles_with("echo 'init/main.c:1: error: broken'; exit 2")
    with pytest.raises(KernelError, match=r"init/main\.c:1: error: broken"):
        kernel_build.ensure_kernel()
    assert folders() == []


def test_missing_required_option_ends_before_compiling(bench: Bench) -> None:
    text = bench.final_config.read_text()
    bench.final_config.write_text(text.replace("CONFIG_NET_SCH_NETEM=y\n", ""))
    with pytest.raises(KernelError, match="NET_SCH_NETEM"):
        kernel_build.ensure_kernel()
    assert "make linux" not in bench.log.read_text()
    assert folders() == []


def test_missing_optional_option_is_recorded(bench: Bench) -> None:
    text = bench.final_config.read_text()
    bench.final_config.write_text(text.replace("CONFIG_OPENVSWITCH=y\n", ""))
    folder = kernel_build.ensure_kernel().path.parent
    assert json.loads((folder / "meta.json").read_text())["missing_options"] == ["OPENVSWITCH"]


def test_kernel_that_does_not_boot_is_not_installed(bench: Bench) -> None:
    write_program(bench.binary, "#!/bin/sh\necho 'Kernel panic'\n")
    with pytest.raises(KernelError, match="Kernel panic"):
        kernel_build.ensure_kernel()
    assert folders() == []


def test_interrupted_build_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.compiles_with("sleep 60")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kernel_build.Progress, "update", interrupt)
    assert kernel.main(["build"]) == kernel.INTERRUPTED_STATUS
    assert "interrupted" in capsys.readouterr().err
    assert folders() == []


def test_full_disk_is_told_before_anything_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(kernel_build.shutil, "disk_usage", lambda _: usage(9, 9, 400_000_000))
    with pytest.raises(KernelError, match=r"needs 2\.5 GB .* only 0\.4 GB are free"):
        kernel_build.ensure_kernel()
    assert not bench.log.exists()


def test_missing_tool_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    which = shutil.which

    def without_bison(name: str) -> str | None:
        return None if name == "bison" else which(name)

    monkeypatch.setattr(kernel_build.shutil, "which", without_bison)
    with pytest.raises(KernelError, match="needs bison; run `make packages`"):
        kernel_build.ensure_kernel()


def test_other_machine_types_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_build.platform, "machine", lambda: "aarch64")
    with pytest.raises(KernelError, match="x86_64"):
        kernel_build.ensure_kernel()


def test_wrong_named_kernel_is_not_replaced_by_a_build(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWMOB_KERNEL", "/nowhere/linux")
    with pytest.raises(KernelError, match="FLOWMOB_KERNEL=/nowhere/linux"):
        kernel_build.ensure_kernel()
    assert not bench.log.exists()
