"""What it costs an LMA to keep its sessions on disk: `python -m experiments.benchmark.sessions`.

Registrations and moves go through the core alone, without sockets and kernel state, so that what is
added shows; the file is where this machine keeps temporary files.
"""

from __future__ import annotations

import random
import tempfile
import time
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from nodes.actions import NOBODY, Instant, Persist
from nodes.config import Access, LmaConfig, MobileNodePolicy
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor
from nodes.session_file import SessionFile
from nodes.wire.messages import ProxyBindingUpdate
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    Timestamp,
)
from nodes.wire.traffic_selector import IPv6TrafficSelector

ADDRESS, MAG = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:11::1")
POOL = IPv6Network("2001:db8:100::/40")
MOBILE_NODES, MOVES, ROUNDS = 50, 500, 2
US = 1_000_000


def _run(path: Path | None) -> tuple[float, float, float]:
    """us a registration, us a move, and octets a registration."""
    names = [f"mn{number}@flowmob.example" for number in range(MOBILE_NODES)]
    config = LmaConfig(
        events=Path("/dev/null"),
        address=ADDRESS,
        prefix_pool=POOL,
        mobile_nodes=dict.fromkeys(names, MobileNodePolicy(prefix_model="shared")),
        accesses={"wlan": Access(4, 10), "cell": Access(8, 20)},
        authorized_mags=(MAG,),
        sessions=path,
    )
    core = LocalMobilityAnchor(config, random.Random(1))
    file = None if path is None else SessionFile(path, ADDRESS)
    if file is not None:
        file.everything = core.storage.everything

    def carry_out() -> None:
        for action in core.take_actions():
            if file is not None and isinstance(action, Persist):
                file.append(action.records)

    began = time.process_time()
    for number, name in enumerate(names):
        for technology in (4, 8):
            at = Instant(float(number), 1_700_000_000_000_000_000 + number * 1_000_000_000)
            core.receive(_request(name, technology, at), MAG, at)
            carry_out()
    registered = time.process_time() - began
    octets = 0 if path is None else path.stat().st_size
    now = Instant(float(MOBILE_NODES), 0)
    bids = [entry.bid for entry in core.bindings.of(names[0])]
    selector = IPv6TrafficSelector.of(protocol=17, destination_port=5001)
    row = FlowMobilityCacheEntry(1, 1, selector, (bids[0],))
    core.add_flow(names[0], row, NOBODY, now)
    carry_out()
    began = time.process_time()
    for number in range(MOVES):
        core.move_flow(names[0], 1, bids[(number + 1) % 2], NOBODY, now)
        carry_out()
    moved = time.process_time() - began
    if file is not None:
        file.close()
    count = 2 * MOBILE_NODES
    return registered / count * US, moved / MOVES * US, octets / count


def _request(name: str, technology: int, at: Instant) -> ProxyBindingUpdate:
    return ProxyBindingUpdate(
        sequence=1,
        acknowledge=True,
        proxy_registration=True,
        lifetime=900,
        options=(
            MobileNodeIdentifier.of(name),
            HomeNetworkPrefix.of(IPv6Network("::/0")),
            HandoffIndicator(1),
            AccessTechnologyType(technology),
            Timestamp.of_unix_ns(at.unix_ns + technology * 1_000_000),
        ),
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        runs = [(_run(None), _run(Path(name) / f"{number}.sessions")) for number in range(ROUNDS)]
    for index, what in enumerate(("registration", "move")):
        without = min(run[0][index] for run in runs)
        with_file = min(run[1][index] for run in runs)
        print(
            f"{what}: {without:.0f} us without the file, {with_file:.0f} us with it "
            f"({with_file - without:+.0f} us)"
        )
    print(f"a registration takes {runs[0][1][2]:.0f} octets of the file")


if __name__ == "__main__":
    main()
