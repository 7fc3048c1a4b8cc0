from pathlib import Path

import pytest

from experiments.engines.kernel_config import (
    GuestConfig,
    KernelError,
    check_config,
    read_guest_config,
    set_timer_rate,
)

WANTED = GuestConfig(
    required=("NET", "VETH"), optional=("BPF",), one_of=(("SYSCTL", "PROC_SYSCTL"),)
)
COMPLETE = "CONFIG_HZ=1000\nCONFIG_NET=y\nCONFIG_VETH=y\nCONFIG_BPF=y\nCONFIG_SYSCTL=y\n"


def test_fragment_names_what_the_topology_needs() -> None:
    config = read_guest_config()
    assert {
        "UML_TIME_TRAVEL_SUPPORT",
        "NET_SCH_NETEM",
        "IPV6_TUNNEL",
        "IPV6_MULTIPLE_TABLES",
        "NF_TABLES_IPV6",
        "VETH",
        "HOSTFS",
    } <= set(config.required)
    assert ("PROC_SYSCTL", "SYSCTL") in config.one_of
    assert not set(config.required) & set(config.optional)


def write_fragment(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_digest_follows_options_and_not_comments(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        return read_guest_config(write_fragment(tmp_path / "fragment", text)).digest

    first = digest("# [required] a\nCONFIG_A=y\nCONFIG_B=y\n")
    assert digest("# [required] reworded\nCONFIG_B=y\n# note\nCONFIG_A=y\n") == first
    assert digest("# [required] a\nCONFIG_A=y\n") != first


@pytest.mark.parametrize("line", ["CONFIG_A=m", "CONFIG_A", "A=y"])
def test_bad_fragment_line_is_named(tmp_path: Path, line: str) -> None:
    fragment = write_fragment(tmp_path / "fragment", f"CONFIG_B=y\n{line}\n")
    with pytest.raises(KernelError, match=r"fragment:2: ") as caught:
        read_guest_config(fragment)
    assert line in str(caught.value)


def test_complete_config_passes() -> None:
    assert check_config(COMPLETE, WANTED, "x") == []


def test_missing_optional_option_is_only_reported() -> None:
    assert check_config(COMPLETE.replace("CONFIG_BPF=y", ""), WANTED, "x") == ["BPF"]


@pytest.mark.parametrize(
    ("dropped", "named"),
    [
        ("CONFIG_VETH=y", "VETH"),
        ("CONFIG_SYSCTL=y", "SYSCTL or PROC_SYSCTL"),
        ("CONFIG_HZ=1000", "HZ=1000"),
    ],
)
def test_missing_required_option_is_an_error(dropped: str, named: str) -> None:
    with pytest.raises(KernelError, match=f"^Linux 9 lacks .*: {named}$"):
        check_config(COMPLETE.replace(dropped, "# gone"), WANTED, "Linux 9")


def test_module_does_not_count_as_built_in() -> None:
    with pytest.raises(KernelError, match="VETH"):
        check_config(COMPLETE.replace("CONFIG_VETH=y", "CONFIG_VETH=m"), WANTED, "x")


def make_um_tree(root: Path, kconfig: str) -> Path:
    (root / "arch/um").mkdir(parents=True)
    (root / "arch/um/Kconfig").write_text(kconfig)
    return root


def test_timer_rate_is_changed_once(tmp_path: Path) -> None:
    other = "config HZ_OTHER\n\tint\n\tdefault 100\n"
    tree = make_um_tree(tmp_path, f"config HZ\n\tint\n\tdefault 100\n\n{other}")
    set_timer_rate(tree)
    expected = f"config HZ\n\tint\n\tdefault 1000\n\n{other}"
    assert (tree / "arch/um/Kconfig").read_text() == expected


def test_unknown_timer_definition_is_an_error(tmp_path: Path) -> None:
    tree = make_um_tree(tmp_path, "config HZ\n\tint 'rate'\n")
    with pytest.raises(KernelError, match="config HZ"):
        set_timer_rate(tree)
