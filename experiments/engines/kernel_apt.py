"""Kernel sources from the distribution, through a private apt configuration.

UML needs Linux 6.16 for seccomp, and a stable distribution is older than that; its own mirror has
newer suites too. Asking for one must not change the machine, so apt gets lists, caches and
sources of its own. Where the mirror is and how it is verified is taken from the machine's sources.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.engines.kernel_cache import version_key
from experiments.engines.kernel_config import KernelError

SECCOMP_SINCE = (6, 16)
"""The first Linux whose UML can use seccomp."""

NEWER_SUITES: Mapping[str, tuple[str, ...]] = {
    "debian": (
        "bookworm-backports",
        "trixie-backports",
        "forky-backports",
    ),
    "ubuntu": (
        "noble-updates",
        "oracular-updates",
        "plucky-updates",
        "questing-updates",
        "resolute",
        "resolute-updates",
    ),
}
"""Suites with newer kernels, oldest first; one that the mirror doesn't have is passed over."""

_PACKAGE = re.compile(r"^linux-(?:hwe-[\d.]+-)?source-(\d+(?:\.\d+)+)$")
_LIST_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>\S.*)$")
_KEPT_OPTIONS = {"signed-by": "Signed-By", "trusted": "Trusted", "arch": "Architectures"}


@dataclass(frozen=True)
class AptSource:
    """One deb822 entry: where packages come from and how they are verified."""

    uris: str
    suites: tuple[str, ...]
    components: str
    options: tuple[tuple[str, str], ...] = ()

    def stanza(self) -> str:
        """Return the entry in apt's deb822 form."""
        fields = [
            ("Types", "deb"),
            ("URIs", self.uris),
            ("Suites", " ".join(self.suites)),
            *([("Components", self.components)] if self.components else []),
            *self.options,
        ]
        return "".join(f"{name}: {value}\n" for name, value in fields)


@dataclass(frozen=True)
class Offer:
    """A package with kernel sources that a mirror offers."""

    package: str
    package_version: str
    linux_version: tuple[int, ...]
    size: int
    suite: str

    @property
    def order(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Newest Linux first, then the newest package of it."""
        return self.linux_version, version_key(self.package_version)


def read_machine_sources(etc_apt: Path = Path("/etc/apt")) -> list[AptSource]:
    """Read the machine's apt sources, of both forms."""
    sources: list[AptSource] = []
    parts = etc_apt / "sources.list.d"
    for path in [etc_apt / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            sources += parse_list(path.read_text(encoding="utf-8", errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        sources += parse_deb822(path.read_text(encoding="utf-8", errors="replace"))
    return sources


def parse_list(text: str) -> list[AptSource]:
    """Parse the one-line form: `deb [option=value] URI SUITE COMPONENT...`."""
    sources = []
    for raw in text.splitlines():
        match = _LIST_LINE.match(raw.partition("#")[0].strip())
        if not match:
            continue
        suite, _, components = match["rest"].partition(" ")
        pairs = (pair.partition("=") for pair in (match["options"] or "").split())
        options = tuple(
            (_KEPT_OPTIONS[name.lower()], value.replace(",", " "))
            for name, _, value in pairs
            if name.lower() in _KEPT_OPTIONS
        )
        sources.append(
            AptSource(match["uri"], (suite,), " ".join(components.split()), options),
        )
    return sources


def parse_deb822(text: str) -> list[AptSource]:
    """Parse the stanza form; a value may go on over indented lines, as an inline key does."""
    sources = []
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():
                if name:
                    fields[name] += "\n" + line
                continue
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
            continue
        options = tuple(
            (written, fields[key])
            for key, written in (
                ("signed-by", "Signed-By"),
                ("trusted", "Trusted"),
                ("architectures", "Architectures"),
            )
            if key in fields
        )
        sources.append(
            AptSource(
                " ".join(fields.get("uris", "").split()),
                tuple(fields.get("suites", "").split()),
                " ".join(fields.get("components", "").split()),
                options,
            )
        )
    return sources


def read_os_release(path: Path = Path("/etc/os-release")) -> dict[str, str]:
    """Return the fields of os-release."""
    fields = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        fields[name] = value.strip().strip('"')
    return fields


def candidate_sources(
    machine: list[AptSource], os_release: Mapping[str, str]
) -> list[tuple[str, list[AptSource]]]:
    """Return the suites to ask, newest first, the machine's own ones last."""
    own = ("this machine's own suites", machine)
    distribution = os_release.get("ID", "")
    codename = os_release.get("VERSION_CODENAME", "")
    base = [source for source in machine if codename and codename in source.suites]
    if not base:
        return [own]
    suites = NEWER_SUITES.get(distribution, ())
    start = next((i for i, suite in enumerate(suites) if suite.startswith(f"{codename}-")), 0)
    swapped = [
        (suite, [replace(base[0], suites=(suite,), components="main")])
        for suite in reversed(suites[start:])
    ]
    return [*swapped, own]


class PrivateApt:
    """apt with lists, cache and sources in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._asked: dict[str, str] = {}
        self._selected = ""
        self._sources = folder / "sources"
        self._configuration = folder / "apt.conf"
        for entry in ("sources", "lists/partial", "cache/archives/partial"):
            (folder / entry).mkdir(parents=True)
        self._configuration.write_text(
            _without_hooks(_run(["apt-config", "dump"], {}))
            + "".join(
                f'{name} "{value}";\n'
                for name, value in {
                    # The dump above stands for these files; hooks in them would touch the system.
                    "Dir::Etc::parts": "/dev/null",
                    "Dir::Etc::main": "/dev/null",
                    "Dir::Etc::sourcelist": "/dev/null",
                    "Dir::Etc::sourceparts": self._sources,
                    "Dir::State::lists": folder / "lists",
                    "Dir::State::status": "/dev/null",
                    "Dir::Cache": folder / "cache",
                    # The sandbox user of apt can't enter a private folder of root.
                    "APT::Sandbox::User": "",
                    "Acquire::Languages": "none",
                    "Acquire::Retries": "1",
                    "APT::Update::Error-Mode": "any",
                }.items()
            ),
            encoding="utf-8",
        )

    def offers(self, suite: str, sources: Iterable[AptSource]) -> list[Offer]:
        """Fetch the lists of these sources and return the kernel sources in them."""
        self._asked[suite] = "\n".join(source.stanza() for source in sources)
        self._select(suite)
        names = self._apt("apt-cache", "pkgnames", "linux-").split()
        packages = sorted(name for name in names if _PACKAGE.match(name))
        if not packages:
            return []
        return parse_offers(self._apt("apt-cache", "show", *packages), suite)

    def download_command(self, offer: Offer) -> tuple[list[str], dict[str, str]]:
        """Return the command and environment that fetch and verify a package into the folder."""
        self._select(offer.suite)
        wanted = f"{offer.package}={offer.package_version}"
        return ["apt-get", "--quiet", "download", wanted], self._environment()

    def _select(self, suite: str) -> None:
        """Make a suite the only one that apt knows, so that its packages are told from others."""
        if suite == self._selected:
            return
        self._selected = ""
        (self._sources / "flowmob.sources").write_text(self._asked[suite], encoding="utf-8")
        self._apt("apt-get", "--quiet", "update")
        self._selected = suite

    def _apt(self, *command: str) -> str:
        return _run(list(command), self._environment())

    def _environment(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self._configuration)}


def parse_offers(shown: str, suite: str) -> list[Offer]:
    """Parse the output of `apt-cache show` into offers, newest first."""
    offers = []
    for block in shown.split("\n\n"):
        fields = dict(re.findall(r"(?m)^(Package|Version|Size): (.+)$", block))
        name = _PACKAGE.match(fields.get("Package", ""))
        if name and "Version" in fields:
            offers.append(
                Offer(
                    package=fields["Package"],
                    package_version=fields["Version"],
                    linux_version=version_key(name[1]),
                    size=int(fields.get("Size", 0)),
                    suite=suite,
                )
            )
    return sorted(offers, key=lambda offer: offer.order, reverse=True)


def find_offers(apt: PrivateApt) -> Iterator[Offer]:
    """Yield the kernel sources to try: the newest of each suite, those with seccomp first.

    Suites are asked one by one, the newest first, so that usually one is asked; the others are
    for a kernel that this machine's compiler turns out to be too old for.
    """
    without_seccomp: list[Offer] = []
    failures: list[str] = []
    found = False
    for suite, sources in candidate_sources(read_machine_sources(), read_os_release()):
        try:
            offers = apt.offers(suite, sources)
        except KernelError as error:
            failures.append(f"{suite}: {error}")
            continue
        if not offers:
            continue
        found = True
        if offers[0].linux_version >= SECCOMP_SINCE:
            yield offers[0]
        else:
            without_seccomp.append(offers[0])
    yield from sorted(without_seccomp, key=lambda offer: offer.order, reverse=True)
    if not found:
        raise KernelError(
            "apt offers no kernel sources (linux-source-VERSION): "
            + ("; ".join(failures) or "no suite has any")
            + "; check the network and /etc/apt/sources.list.d, or name sources with KERNEL_SOURCE="
        )


def have_apt() -> bool:
    """Tell whether this is a distribution with apt."""
    return all(shutil.which(tool) for tool in ("apt-get", "apt-cache", "apt-config", "dpkg-deb"))


def _without_hooks(dump: str) -> str:
    """Drop the commands that the machine runs around apt: they tidy its own caches, not ours."""
    kept = [line for line in dump.splitlines() if "-invoke" not in line.lower()]
    return "".join(f"{line}\n" for line in kept)


def _run(command: list[str], environment: Mapping[str, str]) -> str:
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C", **environment},
        check=False,
    )
    if result.returncode != 0:
        complaints = [line for line in result.stderr.splitlines() if line.startswith("E:")]
        raise KernelError(" ".join(complaints) or f"{' '.join(command)} failed")
    return result.stdout
