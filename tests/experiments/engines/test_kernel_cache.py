import json
import threading
from pathlib import Path

import pytest

from experiments.engines import kernel_cache
from experiments.engines.kernel_cache import (
    build_lock,
    clean,
    find_kernel,
    install,
    kernels_dir,
    version_key,
)
from experiments.engines.kernel_config import GuestConfig, KernelError, read_guest_config

CONFIG = GuestConfig(required=("NET",))


@pytest.fixture(autouse=True)
def _private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FLOWMOB_KERNEL", raising=False)


def put(version: str, content: bytes = b"kernel", digest: str = CONFIG.digest) -> Path:
    """Install a kernel as a build does."""
    with build_lock(lambda _: None) as root:
        work = root / f"{kernel_cache.WORK_PREFIX}{version}"
        work.mkdir()
        (work / "linux").write_bytes(content)
        meta = {
            "version": version,
            "config_digest": digest,
            "sha256": kernel_cache.sha256_of(work / "linux"),
            "supports_seccomp": True,
        }
        return install(root, work, {"linux": work / "linux"}, meta)


def test_empty_cache_says_what_was_expected_and_the_remedy() -> None:
    with pytest.raises(KernelError) as caught:
        find_kernel(CONFIG)
    message = str(caught.value)
    assert CONFIG.digest in message
    assert str(kernels_dir()) in message
    assert "make kernel" in message


def test_newest_kernel_is_found() -> None:
    for version in ("6.9.1", "6.18.2", "6.16"):
        put(version, content=version.encode())
    kernel = find_kernel(CONFIG)
    assert kernel.version == "6.18.2"
    assert kernel.path.read_bytes() == b"6.18.2"
    assert kernel.supports_seccomp


def test_kernel_of_another_config_is_not_used() -> None:
    put("7.0", digest="0123456789ab")
    with pytest.raises(KernelError):
        find_kernel(CONFIG)


def test_unfinished_folder_is_not_a_kernel() -> None:
    work = kernels_dir() / f"{kernel_cache.WORK_PREFIX}abc"
    work.mkdir(parents=True)
    (work / "linux").write_bytes(b"half")
    with pytest.raises(KernelError):
        find_kernel(CONFIG)


@pytest.mark.parametrize("damage", ["binary", "meta", "no meta", "no binary"])
def test_damaged_kernel_is_named_and_can_be_replaced(damage: str) -> None:
    folder = put("7.0")
    if damage == "binary":
        (folder / "linux").write_bytes(b"kern")
    elif damage == "meta":
        (folder / "meta.json").write_text('{"version": ')
    else:
        (folder / ("meta.json" if damage == "no meta" else "linux")).unlink()
    with pytest.raises(KernelError, match="damaged") as caught:
        find_kernel(CONFIG)
    assert str(folder) in str(caught.value)

    put("7.0", content=b"good")
    assert find_kernel(CONFIG).path.read_bytes() == b"good"


def test_older_kernel_serves_when_the_newest_is_damaged() -> None:
    put("6.16")
    (put("7.0") / "linux").write_bytes(b"")
    assert find_kernel(CONFIG).version == "6.16"


def test_leftovers_of_dead_builds_go_with_the_next_try() -> None:
    leftover = kernels_dir() / f"{kernel_cache.WORK_PREFIX}dead"
    (leftover / "tree").mkdir(parents=True)
    said: list[str] = []
    with build_lock(said.append):
        assert not leftover.exists()
    assert str(leftover) in said[0]


def test_second_builder_waits_and_says_so() -> None:
    said: list[str] = []
    order: list[str] = []
    waiting = threading.Event()

    def note(text: str) -> None:
        said.append(text)
        waiting.set()

    def second() -> None:
        with build_lock(note):
            order.append("second")

    with build_lock(said.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert "waiting" in said[0]


def test_lock_is_free_after_an_exception() -> None:
    with pytest.raises(ZeroDivisionError), build_lock(lambda _: None):
        raise ZeroDivisionError
    said: list[str] = []
    with build_lock(said.append):
        assert said == []


def test_unwritable_cache_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(KernelError, match="XDG_CACHE_HOME"), build_lock(lambda _: None):
        pass


def test_clean_removes_all_kernels() -> None:
    folder = put("7.0")
    assert clean() == [folder]
    assert not folder.exists()
    assert clean() == []


def test_clean_without_a_cache_creates_none() -> None:
    assert clean() == []
    assert not kernels_dir().exists()


def fake_kernel(path: Path, version: str, options: str) -> Path:
    path.write_text(
        "#!/bin/sh\n"
        f'case $1 in --version) echo "{version}";; --showconfig) printf "{options}";;\n'
        '--help) echo "seccomp=<on/auto/off>";; esac\n'
    )
    path.chmod(0o755)
    return path


def test_named_kernel_is_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_kernel(tmp_path / "linux", "6.17.1", r"CONFIG_NET=y\nCONFIG_HZ=1000\n")
    monkeypatch.setenv("FLOWMOB_KERNEL", str(path))
    kernel = find_kernel(CONFIG)
    assert (kernel.path, kernel.version, kernel.supports_seccomp) == (path, "6.17.1", True)


def test_named_kernel_that_lacks_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_kernel(tmp_path / "linux", "6.17.1", r"CONFIG_HZ=1000\n")
    monkeypatch.setenv("FLOWMOB_KERNEL", str(path))
    with pytest.raises(KernelError, match=r"6\.17\.1\) lacks what the guest needs: NET$"):
        find_kernel(CONFIG)


@pytest.mark.parametrize("named", ["/nowhere/linux", "/etc/passwd", "/bin/true"])
def test_wrong_named_kernel(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWMOB_KERNEL", named)
    with pytest.raises(KernelError, match=f"FLOWMOB_KERNEL={named}"):
        find_kernel(CONFIG)


def test_installed_record_is_readable() -> None:
    folder = put("7.0")
    assert json.loads((folder / "meta.json").read_text())["version"] == "7.0"
    assert not list(kernels_dir().glob("7.0-*/finished"))


def test_versions_sort_by_number() -> None:
    versions = ["6.9.9", "6.16", "6.1.192", "7.3.4", "7.3"]
    assert sorted(versions, key=version_key) == ["6.1.192", "6.9.9", "6.16", "7.3", "7.3.4"]


def test_cache_lies_outside_the_checkout() -> None:
    assert kernels_dir().parts[-2:] == ("flowmob", "kernels")
    assert read_guest_config().digest not in {"", CONFIG.digest}
