"""The socket-level conformance tests against this project's own daemons."""

from __future__ import annotations

import contextlib
import os
import select
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from experiments.emulation.roles import TECHNOLOGIES
from experiments.emulation.testbed import end
from nodes.config import AccessProfile, LmaConfig, MagConfig, MobileNodePolicy
from nodes.daemons import run_lma, run_mag
from tests.conformance.sockets.carry_out import carry_out
from tests.conformance.sockets.mn_link import Link
from tests.conformance.sockets.nodes_under_test import LmaUnderTest, MagUnderTest
from tests.conformance.sockets.peer import Peer
from tests.system.guest_checks.support import reference
from topologies.namespaces import fork_into, set_timer_slack, socket_in
from topologies.network import Network, running
from topologies.plan import mac

MN, OTHER_MN, DISABLED_MN = "mn1@example.org", "mn2@example.org", "mn3@example.org"
LMA, MAG1, MAG2 = (IPv6Address(f"2001:db8:{link}::1") for link in (10, 11, 12))
CN = IPv6Address("2001:db8:1::2")
POOL = IPv6Network("2001:db8:100::/48")
PREFIX, OTHER_PREFIX = IPv6Network("2001:db8:100:1::/64"), IPv6Network("2001:db8:100:2::/64")
READY_S = 10.0


def lma(folder: Path) -> dict[str, Any]:
    """What the tests said, by rule: verdict and note."""
    with tempfile.TemporaryDirectory() as state:
        config = LmaConfig(
            events=folder / "events.jsonl",
            address=LMA,
            control_socket=Path(state) / "control.sock",
            prefix_pool=POOL,
            mobile_nodes={
                MN: MobileNodePolicy(),
                OTHER_MN: MobileNodePolicy(),
                DISABLED_MN: MobileNodePolicy(enabled=False),
            },
            accesses=TECHNOLOGIES,
            authorized_mags=(MAG1, MAG2),
        )
        with serving("lma", run_lma, config, folder) as network:
            node = LmaUnderTest(
                LMA,
                mag=peer_at(network, "mag1", MAG1),
                mn=MN,
                other_mag=peer_at(network, "mag2", MAG2),
                stranger=peer_at(network, "cn", CN),
                other_mn=OTHER_MN,
                disabled_mn=DISABLED_MN,
            )
            return {rule: asdict(result) for rule, result in carry_out(node, print).items()}


def mag(folder: Path) -> dict[str, Any]:
    topology = reference()
    config = MagConfig(
        events=folder / "events.jsonl",
        proxy_coa=MAG1,
        lma=LMA,
        access_interfaces={
            topology.access_link("wlan").interface("mag1"): AccessProfile(
                mn_id=MN,
                access_technology=TECHNOLOGIES["wlan"].technology,
                link_layer_id=mac(topology, "wlan", "mn"),
            )
        },
    )
    with serving("mag1", run_mag, config, folder) as network:
        interface = topology.access_link("wlan").interface("mn")
        node = MagUnderTest(
            MAG1,
            lma=peer_at(network, "lma", LMA),
            mn=MN,
            prefix=PREFIX,
            other_prefix=OTHER_PREFIX,
            attach_mn=lambda: network.set_access("wlan", True),
            detach_mn=lambda: network.set_access("wlan", False),
            stranger=peer_at(network, "mag2", MAG2),
            mn_link=socket_in(network.namespace("mn"), lambda: Link(interface)),
        )
        return {rule: asdict(result) for rule, result in carry_out(node, print).items()}


def peer_at(network: Network, node: str, address: IPv6Address) -> Peer:
    return socket_in(network.namespace(node), lambda: Peer(address))


@contextlib.contextmanager
def serving(
    node: str, main: Callable[..., None], config: object, folder: Path
) -> Iterator[Network]:
    """The reference network with this daemon and no other."""
    set_timer_slack(1)
    with running(reference(), 1) as network:
        reader, writer = os.pipe()

        def serve() -> None:
            main(config, node, lambda: os.write(writer, b"r"))

        log = folder / "logs" / f"{node}.txt"
        child = fork_into(network.namespace(node), serve, log=log, name=node)
        try:
            ready = select.select([reader], [], [], READY_S)[0]
            assert ready, log.read_text(errors="replace")
            yield network
        finally:
            end([child])
