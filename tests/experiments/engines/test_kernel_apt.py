from collections.abc import Iterable
from pathlib import Path

import pytest

from experiments.engines import kernel_apt
from experiments.engines.kernel_apt import (
    AptSource,
    Offer,
    candidate_sources,
    find_offers,
    parse_deb822,
    parse_list,
    parse_offers,
    read_machine_sources,
)
from experiments.engines.kernel_config import KernelError

DEB822 = """\
# Modernised by hand
Types: deb deb-src
# an older mirror
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd

Enabled: no
Types: deb
URIs: http://unused.example/
Suites: x

Types: deb-src
URIs: http://sources.example/
Suites: y
"""

ONE_LINE = """\
# deb http://old.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib # comment
deb [arch=amd64,i386 signed-by=/usr/share/keyrings/k.gpg] http://m.example/ubuntu noble main
deb-src http://mirror.example/debian bookworm main
deb http://flat.example/repo ./
"""

SHOWN = """\
Package: linux-source-6.12
Version: 6.12.9-1
Size: 100
Description: sources
 linux-source-9.9

Package: linux-source-7.3
Version: 7.3.4-1~bpo13+1
Size: 166780612

Package: linux-source-7.3
Version: 7.3.2-1~bpo13+1
Size: 5

Package: linux-source-6.8.0
Version: 6.8.0-31.31
Size: 7

Package: linux-hwe-6.17-source-6.17.0
Version: 6.17.0-5.5~24.04.1
Size: 8

Package: linux-source-7.3-rt
Version: 1
"""

DEBIAN = {"ID": "debian", "VERSION_CODENAME": "bookworm"}


def test_deb822_sources() -> None:
    first, second = parse_deb822(DEB822)
    assert first == AptSource(
        "http://mirror.example/debian",
        ("bookworm", "bookworm-updates"),
        "main contrib",
        (("Signed-By", "/usr/share/keyrings/debian.gpg"),),
    )
    assert second.suites == ("bookworm-security",)
    # A key inside the entry goes over as it is, so that apt can verify with it.
    assert "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abcd\n" in second.stanza()


def test_one_line_sources() -> None:
    plain, signed, flat = parse_list(ONE_LINE)
    assert plain == AptSource("http://mirror.example/debian", ("bookworm",), "main contrib")
    assert signed.options == (
        ("Architectures", "amd64 i386"),
        ("Signed-By", "/usr/share/keyrings/k.gpg"),
    )
    assert "Components" not in AptSource(flat.uris, ("./",), "").stanza()


def test_machine_sources_of_both_forms(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(ONE_LINE)
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/off.sources.disabled").write_text(DEB822)
    assert len(read_machine_sources(tmp_path)) == 5


def test_newer_suites_keep_mirror_and_key() -> None:
    machine = parse_deb822(DEB822)
    candidates = candidate_sources(machine, DEBIAN)
    assert [suite for suite, _ in candidates] == [
        "forky-backports",
        "trixie-backports",
        "bookworm-backports",
        "this machine's own suites",
    ]
    (swapped,) = candidates[1][1]
    assert swapped.uris == "http://mirror.example/debian"
    assert swapped.suites == ("trixie-backports",)
    assert swapped.options == machine[0].options
    assert candidates[-1][1] == machine


def test_suites_older_than_the_machine_are_not_asked() -> None:
    machine = [AptSource("http://m.example/u", ("resolute",), "main universe")]
    ubuntu = {"ID": "ubuntu", "VERSION_CODENAME": "resolute"}
    suites = [suite for suite, _ in candidate_sources(machine, ubuntu)]
    assert suites == ["resolute-updates", "this machine's own suites"]


def test_unknown_distribution_asks_its_own_suites_only() -> None:
    machine = [AptSource("http://m.example/x", ("stable",), "main")]
    candidates = candidate_sources(machine, {"ID": "other", "VERSION_CODENAME": "stable"})
    assert candidates == [("this machine's own suites", machine)]


def test_offers_newest_first_and_only_source_packages() -> None:
    offers = parse_offers(SHOWN, "s")
    assert [(offer.package, offer.package_version) for offer in offers] == [
        ("linux-source-7.3", "7.3.4-1~bpo13+1"),
        ("linux-source-7.3", "7.3.2-1~bpo13+1"),
        ("linux-hwe-6.17-source-6.17.0", "6.17.0-5.5~24.04.1"),
        ("linux-source-6.12", "6.12.9-1"),
        ("linux-source-6.8.0", "6.8.0-31.31"),
    ]
    assert offers[0].size == 166780612


class FakeApt(kernel_apt.PrivateApt):
    """Offers what a test says, by suite; a suite that it doesn't know is an error."""

    def __init__(self, versions: dict[str, list[str]]) -> None:
        self.versions = versions
        self.asked: list[str] = []

    def offers(self, suite: str, sources: Iterable[AptSource]) -> list[Offer]:
        self.asked.append(suite)
        if suite not in self.versions:
            raise KernelError("E: no Release file")
        numbers = [tuple(map(int, version.split("."))) for version in self.versions[suite]]
        return [Offer(suite, ".".join(map(str, n)), n, 1, suite) for n in numbers]


@pytest.fixture(autouse=True)
def _debian_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_apt, "read_machine_sources", lambda: parse_deb822(DEB822))
    monkeypatch.setattr(kernel_apt, "read_os_release", lambda: DEBIAN)


def test_first_kernel_with_seccomp_ends_the_search() -> None:
    apt = FakeApt({"trixie-backports": ["7.3", "7.2"], "bookworm-backports": ["6.12"]})
    assert next(find_offers(apt)).linux_version == (7, 3)
    assert apt.asked == ["forky-backports", "trixie-backports"]


def test_other_suites_follow_if_that_one_does_not_build() -> None:
    apt = FakeApt({"trixie-backports": ["7.3", "7.2"], "bookworm-backports": ["6.12"]})
    assert [offer.linux_version for offer in find_offers(apt)] == [(7, 3), (6, 12)]


def test_old_kernels_are_taken_when_there_is_nothing_newer() -> None:
    apt = FakeApt({"bookworm-backports": ["6.1"], "this machine's own suites": ["6.12", "6.1"]})
    assert [offer.linux_version for offer in find_offers(apt)] == [(6, 12), (6, 1)]


def test_no_sources_at_all_is_one_message_with_the_reasons() -> None:
    with pytest.raises(KernelError) as caught:
        next(find_offers(FakeApt({"bookworm-backports": []})))
    message = str(caught.value)
    assert "trixie-backports: E: no Release file" in message
    assert "KERNEL_SOURCE=" in message


def test_hooks_of_the_machine_are_left_out() -> None:
    dump = 'Acquire::Retries "2";\nAPT::Update::Post-Invoke:: "rm -f /var/cache/apt/x";\n'
    assert kernel_apt._without_hooks(dump) == 'Acquire::Retries "2";\n'


def test_no_registry_is_named_in_the_project() -> None:
    text = Path(kernel_apt.__file__).read_text()
    assert "http:" not in text
    assert "https:" not in text
