"""What the topology needs of a kernel, tried out in network namespaces that are thrown away.

Trying is the only honest test: modules load on demand, and a kernel's config is not always there
to read. Nothing outlives a probe, since its namespace ends with it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

PROBE_SECONDS = 10.0

_FLOW_MAP = """
table ip6 probe {
    map flows { type ipv6_addr . inet_proto . inet_service : mark; }
    chain classify {
        type filter hook prerouting priority mangle;
        meta mark set ip6 daddr . meta l4proto . th dport map @flows
    }
}
"""
_EGRESS_MIRROR = """
qdisc add dev lo clsact
filter add dev lo egress matchall action mirred egress mirror dev lo
"""
_CONNTRACK_MARK = """
table ip6 probe {
    chain remember {
        type filter hook prerouting priority mangle;
        ct mark set meta mark
    }
}
"""


@dataclass(frozen=True)
class Feature:
    """Something that the topology uses, and a command that works only where it is there."""

    name: str
    why: str
    option: str
    """Kernel options that provide it."""
    modules: str
    """Modules that do, where they are not built in."""
    probe: tuple[str, ...]
    standard_input: str = ""


@dataclass(frozen=True)
class MissingFeature:
    """Something that this kernel lacks, or that we may not use."""

    name: str
    why: str
    """What it is needed for."""
    remedy: str
    error: str = ""
    """What the kernel or the tool said."""


_ALL = (
    Feature(
        "network namespaces",
        "every node of the topology is one",
        "CONFIG_NET_NS",
        "",
        ("true",),
    ),
    Feature(
        "veth",
        "the links between nodes",
        "CONFIG_VETH",
        "veth",
        ("ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"),
    ),
    Feature(
        "dummy",
        "the MN's logical interface",
        "CONFIG_DUMMY",
        "dummy",
        ("ip", "link", "add", "probe0", "type", "dummy"),
    ),
    Feature(
        "netem",
        "delay, rate and loss of the links",
        "CONFIG_NET_SCH_NETEM",
        "sch_netem",
        ("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"),
    ),
    Feature(
        "egress mirror",
        "packets are captured before the delay of their link",
        "CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_MATCHALL, CONFIG_NET_ACT_MIRRED",
        "sch_ingress cls_matchall act_mirred",
        ("tc", "-batch", "-"),
        _EGRESS_MIRROR,
    ),
    Feature(
        "ip6_tunnel",
        "the tunnels between LMA and MAGs (RFC 2473)",
        "CONFIG_IPV6_TUNNEL",
        "ip6_tunnel",
        (
            *("ip", "link", "add", "probe0", "type", "ip6tnl", "mode", "ip6ip6"),
            *("local", "2001:db8::1", "remote", "2001:db8::2"),
        ),
    ),
    Feature(
        "policy routing",
        "a flow's mark selects its tunnel",
        "CONFIG_IPV6_MULTIPLE_TABLES",
        "",
        ("ip", "-6", "rule", "add", "fwmark", "1", "table", "100"),
    ),
    Feature(
        "nftables",
        "the map from flow to binding",
        "CONFIG_NF_TABLES, CONFIG_NF_TABLES_IPV6",
        "nf_tables",
        ("nft", "-f", "-"),
        _FLOW_MAP,
    ),
    Feature(
        "conntrack marks",
        "the MN's uplink follows the flow's downlink",
        "CONFIG_NF_CONNTRACK, CONFIG_NF_CONNTRACK_MARK, CONFIG_NFT_CT",
        "nf_conntrack nft_ct",
        ("nft", "-f", "-"),
        _CONNTRACK_MARK,
    ),
)
_SWITCHING = Feature(
    "Open vSwitch datapath",
    'switches with datapath = "system"; those with "netdev" need no more than TUN',
    "CONFIG_OPENVSWITCH",
    "openvswitch",
    ("ovs-dpctl", "-vconsole:off", "add-dp", "probe0"),
)
FEATURES = {feature.name: feature for feature in (*_ALL, _SWITCHING)}
NEEDED = tuple(feature.name for feature in _ALL)
"""What the reference topology and its nodes use."""
FOR_SWITCHES = (_SWITCHING.name,)
"""What topologies with switches use besides."""


def missing_features(needed: Iterable[str] = NEEDED) -> list[MissingFeature]:
    """Return which of the needed features this kernel lacks; changes nothing."""
    wanted = list(needed)
    unknown = [name for name in wanted if name not in FEATURES]
    if unknown:
        raise ValueError(f"unknown features {unknown}; known are {sorted(FEATURES)}")
    # Without a namespace to try things in, nothing else can be said.
    namespaces = probe(FEATURES["network namespaces"])
    if namespaces:
        return [namespaces]
    return [missing for name in wanted if (missing := probe(FEATURES[name]))]


def probe(feature: Feature) -> MissingFeature | None:
    """Try one feature."""
    program = feature.probe[0]
    if not shutil.which("unshare") or not shutil.which(program):
        tool = program if shutil.which("unshare") else "unshare"
        return MissingFeature(
            feature.name, feature.why, "run `make packages`", f"the program {tool} is missing"
        )
    try:
        result = subprocess.run(
            [*_throwaway_namespace(), *feature.probe],
            input=feature.standard_input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return MissingFeature(
            feature.name, feature.why, _remedy(feature), f"no answer within {PROBE_SECONDS:.0f} s"
        )
    if result.returncode == 0:
        return None
    complaint = next((line for line in result.stderr.splitlines() if line.strip()), "")
    return MissingFeature(feature.name, feature.why, _remedy(feature), complaint.strip())


def _throwaway_namespace() -> list[str]:
    if os.geteuid() == 0:
        return ["unshare", "--net"]
    # A user namespace lets a user try most things; the host engine itself needs root.
    return ["unshare", "--map-root-user", "--net"]


def _remedy(feature: Feature) -> str:
    if feature.name == "network namespaces":
        return (
            "run as root, in a container with all privileges, on a kernel with "
            f"{feature.option}; or use the engine `virtual`, which needs none of it"
        )
    needs = f"a kernel with {feature.option}; or use the engine `virtual`, which brings its own"
    if not feature.modules:
        return needs
    # Cloud images of Ubuntu leave such modules out.
    extra = "Ubuntu: after installing linux-modules-extra-$(uname -r)"
    return f"as root `modprobe -a {feature.modules}` ({extra}), or {needs}"
