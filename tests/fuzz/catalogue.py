"""All targets by name. A family is imported when one of its targets is asked for: an instrumented
import takes seconds."""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.target import Target

FAMILIES = {
    "wire": (
        "mobility-header",
        "received-message",
        "mobility-options",
        "flow-sub-options",
        "attachment-frame",
        "neighbour-discovery",
        "packet-fields",
        "decoder-lines",
    ),
    "kernel": ("netlink-replies", "netlink-events", "netlink-attributes", "packet-queue"),
    "captures": (
        "capture-files",
        "capture-decoding",
        "pcapng",
        "run-signalling",
        "controller-messages",
        "test-packets",
        "quic-packets",
        "quic-key-log",
    ),
    "requests": (
        "lma-requests",
        "mag-requests",
        "mn-requests",
        "northbound-requests",
        "northbound-replies",
        "control-replies",
    ),
    "documents": (
        "lma-config",
        "mag-config",
        "mn-config",
        "controller-config",
        "topology-file",
        "experiment-file",
        "job-file",
        "cellular-trace",
        "event-lines",
        "state-file",
    ),
    "switches": ("openflow-match", "flow-statistics", "switch-database"),
    "cores": ("message-sequences",),
}
NAMES = tuple(name for names in FAMILIES.values() for name in names)


def load(name: str) -> Target:
    family = next(family for family, names in FAMILIES.items() if name in names)
    targets: dict[str, Target] = import_module(f"tests.fuzz.targets.{family}").TARGETS
    return targets[name]
