"""Gets a kernel source tree into a work folder: what the user names, or the distribution's."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.engines.kernel_apt import Offer, PrivateApt, find_offers, have_apt
from experiments.engines.kernel_config import KernelError
from experiments.engines.kernel_process import run_step
from experiments.engines.kernel_progress import Progress, say

NOT_COPIED = shutil.ignore_patterns("*.o", ".git")
"""What is large and needless; `make mrproper` removes what else was built in a tree."""
DOWNLOAD_GUESS_BYTES_PER_SECOND = 5e6
UNPACK_SECONDS = 15


@dataclass(frozen=True)
class Source:
    """Where a tree comes from, and how to put it into a work folder."""

    label: str
    """For the record of a kernel, e.g. `linux-source-7.3 7.3.4-1~bpo13+1`."""
    prepare: Callable[[Path], Path]
    """Gets the sources into a folder and returns the tree."""


def sources(work: Path) -> Iterator[Source]:
    """Yield the sources to try, best first; a named one is the only one."""
    if named := os.environ.get("KERNEL_SOURCE"):
        yield named_source(Path(named).expanduser())
        return
    if not have_apt():
        raise KernelError(
            "no kernel sources: this machine has no apt; set KERNEL_SOURCE to a Linux tarball, "
            "a source tree or a linux-source .deb, or FLOWMOB_KERNEL to a ready UML kernel"
        )
    say("guest kernel: looking for the newest kernel sources (a few seconds)")
    apt = PrivateApt(work / "apt")
    for offer in find_offers(apt):

        def prepare(folder: Path, offer: Offer = offer) -> Path:
            return unpack_deb(_download(apt, offer, folder), folder)

        yield Source(f"{offer.package} {offer.package_version} from {offer.suite}", prepare)


def named_source(path: Path) -> Source:
    """Return the source that KERNEL_SOURCE names."""
    if is_tree(path):
        return Source(f"tree {path}", lambda folder: copy_tree(path, folder))
    if path.is_file() and path.suffix == ".deb":
        return Source(f"package {path.name}", lambda folder: unpack_deb(path, folder))
    if path.is_file() and tarfile.is_tarfile(path):
        return Source(f"tarball {path.name}", lambda folder: unpack_tarball(path, folder))
    raise KernelError(
        f"KERNEL_SOURCE={path}: expected a Linux source tree, a tarball of one or a "
        f"linux-source .deb; {'it is none of these' if path.exists() else 'there is no such file'}"
    )


def is_tree(path: Path) -> bool:
    """Tell whether a folder is a Linux source tree with UML in it."""
    return (path / "Kconfig").is_file() and (path / "arch/um/Kconfig").is_file()


def copy_tree(path: Path, folder: Path) -> Path:
    """Copy a tree, so that the user's own is left as it is."""
    say(f"guest kernel: copying {path} (about {UNPACK_SECONDS} s)")
    tree = folder / "tree"
    shutil.copytree(path, tree, symlinks=True, ignore=NOT_COPIED)
    return tree


def unpack_deb(package: Path, folder: Path) -> Path:
    """Unpack the tarball out of a linux-source package, and the tree out of that."""
    content = folder / "package"
    run_step(["dpkg-deb", "-x", str(package), str(content)], f"unpacking {package.name}")
    if package.is_relative_to(folder):
        package.unlink()
    tarballs = [
        path
        for path in sorted((content / "usr/src").rglob("linux-source-*.tar*"))
        if not path.is_symlink()
    ]
    if not tarballs:
        raise KernelError(f"{package.name}: expected a usr/src/linux-source-VERSION.tar.* in it")
    tree = unpack_tarball(tarballs[0], folder)
    shutil.rmtree(content)
    return tree


def unpack_tarball(tarball: Path, folder: Path) -> Path:
    """Unpack a kernel tarball; the tree is the folder in it."""
    say(f"guest kernel: unpacking {tarball.name} (about {UNPACK_SECONDS} s)")
    target = folder / "unpacked"
    target.mkdir()
    run_step(["tar", "-xf", str(tarball), "-C", str(target)], f"unpacking {tarball.name}")
    for tree in (target, *sorted(target.iterdir())):
        if is_tree(tree):
            return tree
    raise KernelError(f"{tarball.name}: expected a Linux source tree with arch/um in it")


def _download(apt: PrivateApt, offer: Offer, folder: Path) -> Path:
    target = folder / "download"
    target.mkdir()
    command, environment = apt.download_command(offer)
    progress = Progress(
        f"downloading {offer.size / 1e6:.0f} MB",
        offer.size,
        offer.size / DOWNLOAD_GUESS_BYTES_PER_SECOND,
    )

    def watch(_: Path) -> None:
        progress.update(sum(entry.stat().st_size for entry in target.rglob("*.deb*")))

    run_step(command, "downloading the kernel sources", target, environment, watch)
    progress.finish()
    packages = list(target.glob("*.deb"))
    if len(packages) != 1:
        raise KernelError(f"{' '.join(command)} left {len(packages)} packages, expected one")
    return packages[0]
