import subprocess

import pytest

from experiments.engines import features
from experiments.engines.features import FEATURES, NEEDED, missing_features

Run = subprocess.CompletedProcess[str]


def fake_kernel(monkeypatch: pytest.MonkeyPatch, lacking: dict[str, str]) -> list[list[str]]:
    """Let probes fail whose command line contains a given word; return the commands run."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> Run:
        commands.append(command)
        for word, complaint in lacking.items():
            if word in command:
                return Run(command, 2, "", f"\n{complaint}\nand more\n")
        return Run(command, 0, "", "")

    monkeypatch.setattr(features.subprocess, "run", run)
    monkeypatch.setattr(features.shutil, "which", lambda name: f"/usr/bin/{name}")
    return commands


def test_complete_kernel_lacks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_kernel(monkeypatch, {})
    assert missing_features() == []
    assert all(command[0] == "unshare" and "--net" in command for command in commands)


def test_each_missing_feature_has_reason_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = "Error: Specified qdisc kind is unknown."
    fake_kernel(monkeypatch, {"netem": complaint, "ip6tnl": "Error: Unknown device type."})
    netem, tunnel = missing_features()
    assert (netem.name, tunnel.name) == ("netem", "ip6_tunnel")
    assert netem.error == complaint
    assert netem.why == FEATURES["netem"].why
    for part in ("modprobe -a sch_netem", "CONFIG_NET_SCH_NETEM", "`virtual`"):
        assert part in netem.remedy


def test_only_what_is_needed_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_kernel(monkeypatch, {"netem": "no", "ip6tnl": "no"})
    assert [missing.name for missing in missing_features(["veth", "netem"])] == ["netem"]


def test_without_namespaces_nothing_else_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_kernel(monkeypatch, {"true": "unshare: Operation not permitted"})
    (missing,) = missing_features()
    assert missing.name == "network namespaces"
    assert "root" in missing.remedy
    assert len(commands) == 1


def test_user_tries_in_a_user_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_kernel(monkeypatch, {})
    monkeypatch.setattr(features.os, "geteuid", lambda: 1000)
    missing_features(["veth"])
    assert all("--map-root-user" in command for command in commands)


def test_missing_tool_is_not_taken_for_a_missing_kernel_feature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_kernel(monkeypatch, {})
    monkeypatch.setattr(features.shutil, "which", lambda name: None if name == "nft" else name)
    missing = missing_features(["nftables"])[0]
    assert missing.error == "the program nft is missing"
    assert "make packages" in missing.remedy


def test_unknown_feature_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="netme"):
        missing_features(["netme"])


def test_everything_the_topology_needs_is_known() -> None:
    assert {"netem", "ip6_tunnel", "nftables", "veth", "network namespaces", "dummy"} <= set(NEEDED)
    assert set(NEEDED) <= set(FEATURES)
