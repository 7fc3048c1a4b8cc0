"""`make bench`: what this testbed costs, as ratios measured in one sitting and in absolute terms.

Names on the command line choose some of the benchmarks. docs/reliability.md says what is measured
where.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from statistics import median

from experiments.benchmark.core import report_core
from experiments.benchmark.guest import BenchmarkFailed
from experiments.benchmark.printed import (
    report_forwarding,
    report_protection,
    report_signalling,
    report_storm,
)
from experiments.declaration.experiment import jobs, load, points
from experiments.declaration.job import write_atomically
from experiments.runner import make_engine
from nodes.config import ANY_PREFIX
from nodes.strict import to_json
from nodes.wire.codec import decode, encode
from nodes.wire.messages import (
    AccessTechnology,
    HandoffHint,
    ProxyBindingAcknowledgement,
    ProxyBindingUpdate,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)

REPETITIONS = 5
CODEC_ROUNDS = 5_000
REQUIRED_RATE = 30_000  # of decodes with encodes, per second and core
EXPERIMENT, POINT = "prefix-models", "unique-ack-10ms"
IPV6_HEADER = 40  # octets
MEBIBYTE = 1 << 20
KIBIBYTE = 1 << 10
GIBIBYTE = 1 << 30


def main(arguments: list[str]) -> int:
    """Print the benchmarks; returns the exit status."""
    unknown = [name for name in arguments if name not in BENCHMARKS]
    if unknown:
        print(f"bench: {unknown[0]!r}; expected some of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    print(f"bench: on {_machine()}")
    status = 0
    for name in arguments or BENCHMARKS:
        try:
            BENCHMARKS[name]()
        except BenchmarkFailed as failure:
            print(f"bench: {failure}")
            status = 1
    return status


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    processor = names[0] if names else platform.machine()
    return (
        f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def _rate(work: Callable[[], None], rounds: int) -> float:
    """Median rate per second over REPETITIONS."""
    rates = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        for _ in range(rounds):
            work()
        rates.append(rounds / (time.perf_counter() - started))
    return median(rates)


def _codec() -> None:
    mag, lma = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:10::1")
    common = (
        HandoffIndicator(HandoffHint.NEW_INTERFACE),
        AccessTechnologyType(AccessTechnology.IEEE_802_11),
        Timestamp.of_unix_ns(1_767_225_600_000_000_000),
        MobileNodeLinkLayerIdentifier(bytes.fromhex("020000000101")),
    )
    identifier = MobileNodeIdentifier.of("mn1@flowmob.example")
    request = encode(
        ProxyBindingUpdate(1, 900, (identifier, HomeNetworkPrefix.of(ANY_PREFIX), *common)),
        mag,
        lma,
    )
    prefix = HomeNetworkPrefix.of(IPv6Network("2001:db8:100::/64"))
    answer = ProxyBindingAcknowledgement(0, 1, 900, (identifier, prefix, *common))

    def ours() -> None:
        decode(request, mag, lma)
        encode(answer, lma, mag)

    rate = _rate(ours, CODEC_ROUNDS)
    print(
        f"codec: {rate:,.0f} PBU decodes with PBA encodes a second, one core; "
        f"{REQUIRED_RATE:,} are required"
    )
    try:
        from scapy.layers.inet6 import IPv6

        from nodes.wire.scapy_layers import PMIP6Message, to_scapy
    except ImportError:
        return
    layer = to_scapy(answer)
    header = IPv6(src=str(lma), dst=str(mag))

    def scapys() -> None:
        PMIP6Message(request)
        bytes(header / layer)

    if bytes(header / layer)[IPV6_HEADER:] != encode(answer, lma, mag):
        raise AssertionError("the codec and the Scapy layers make different octets of a PBA")
    other = _rate(scapys, CODEC_ROUNDS // 50)
    print(
        f"codec: {rate / other:.0f} times the rate of Scapy for the same messages with all their "
        f"options ({other:,.0f} a second)"
    )


def _reference_run() -> None:
    chosen = next(
        job
        for job in jobs(EXPERIMENT, points(EXPERIMENT, load(EXPERIMENT), 1), "virtual")
        if job.point == POINT
    )
    engine = make_engine("virtual")
    walls = []
    for _ in range(REPETITIONS):
        with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
            folder = Path(name) / "run"
            folder.mkdir()
            write_atomically(folder / "job.json", to_json(chosen))
            outcome = engine.run(folder, 120.0)
            if outcome.failure is not None:
                raise BenchmarkFailed(f"the reference run failed: {outcome.failure}")
            walls.append(outcome.wall_s)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIBIBYTE
    emulated = chosen.spec.duration_s
    print(
        f"reference run: {emulated:g} emulated seconds in {median(walls):.2f} s of wall time "
        f"(median of {REPETITIONS}, {min(walls):.2f} to {max(walls):.2f}), boot and agents "
        f"included: {emulated / median(walls):.1f} times real time"
    )
    print(f"reference run: at most {peak / MEBIBYTE:.0f} MiB in one process")


BENCHMARKS = {
    "codec": _codec,
    "core": report_core,
    "forwarding": report_forwarding,
    "signalling": report_signalling,
    "storm": report_storm,
    "protection": report_protection,
    "reference-run": _reference_run,
}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
