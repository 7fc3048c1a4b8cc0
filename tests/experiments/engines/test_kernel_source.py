import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from experiments.engines import kernel_source
from experiments.engines.kernel_config import KernelError
from experiments.engines.kernel_source import is_tree, named_source, sources


def make_tree(root: Path) -> Path:
    (root / "arch/um").mkdir(parents=True)
    for name in ("Kconfig", "arch/um/Kconfig", "Makefile"):
        (root / name).write_text(name)
    return root


def make_tarball(path: Path, tree: Path) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        tar.add(tree, arcname="linux-source-9.1")
    return path


def make_package(path: Path, tarball: Path, folder: Path) -> Path:
    control = folder / "pkg/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text(
        "Package: linux-source-9.1\nVersion: 9.1.2-1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: sources\n"
    )
    # Ubuntu's layout: the tarball lies in a folder and a link points to it.
    inner = folder / "pkg/usr/src/linux-source-9.1"
    inner.mkdir(parents=True)
    (inner / "linux-source-9.1.tar.xz").write_bytes(tarball.read_bytes())
    (inner.parent / "linux-source-9.1.tar.xz").symlink_to(
        "linux-source-9.1/linux-source-9.1.tar.xz"
    )
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", str(folder / "pkg"), str(path)],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_tree_is_copied_without_what_was_built_in_it(tmp_path: Path, work: Path) -> None:
    tree = make_tree(tmp_path / "mine")
    (tree / "init.o").write_text("object")
    for name in ("include/linux/init.h", "arch/um/kernel/vmlinux.lds.S"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(name)
    copy = named_source(tree).prepare(work)
    assert is_tree(copy)
    assert copy.is_relative_to(work)
    assert not (copy / "init.o").exists()
    assert (copy / "include/linux/init.h").exists()
    assert (copy / "arch/um/kernel/vmlinux.lds.S").exists()
    (copy / "Kconfig").write_text("changed")
    assert (tree / "Kconfig").read_text() == "Kconfig"


def test_tarball(tmp_path: Path, work: Path) -> None:
    tarball = make_tarball(tmp_path / "linux-9.1.tar.xz", make_tree(tmp_path / "t"))
    source = named_source(tarball)
    assert source.label == "tarball linux-9.1.tar.xz"
    assert is_tree(source.prepare(work))
    assert tarball.exists()


def test_package_of_the_user_stays(tmp_path: Path, work: Path) -> None:
    tarball = make_tarball(tmp_path / "x.tar.xz", make_tree(tmp_path / "t"))
    package = make_package(tmp_path / "linux-source-9.1_9.1.2-1_all.deb", tarball, tmp_path)
    assert is_tree(named_source(package).prepare(work))
    assert package.exists()


def test_tarball_of_something_else(tmp_path: Path, work: Path) -> None:
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("other/README"), io.BytesIO(b""))
    with pytest.raises(KernelError, match="arch/um"):
        named_source(path).prepare(work)


def test_truncated_tarball_is_no_tree(tmp_path: Path, work: Path) -> None:
    whole = make_tarball(tmp_path / "whole.tar.xz", make_tree(tmp_path / "t"))
    cut = tmp_path / "cut.tar.xz"
    cut.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(KernelError, match=r"cut\.tar\.xz"):
        named_source(cut).prepare(work)


@pytest.mark.parametrize(
    ("name", "reason"), [("nowhere", "no such file"), ("text", "none of these")]
)
def test_wrong_source_says_what_was_expected(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(KernelError, match=reason) as caught:
        named_source(tmp_path / name)
    assert str(caught.value).startswith(f"KERNEL_SOURCE={tmp_path / name}: expected")


def test_named_source_is_the_only_one(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_SOURCE", str(make_tree(tmp_path / "mine")))
    assert [source.label for source in sources(work)] == [f"tree {tmp_path / 'mine'}"]


def test_machine_without_apt_gets_the_remedy(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERNEL_SOURCE", raising=False)
    monkeypatch.setattr(kernel_source, "have_apt", lambda: False)
    with pytest.raises(KernelError, match="KERNEL_SOURCE"):
        next(sources(work))
