"""The keys of a run whose signalling is protected: one for each LMA, MAG and direction.

They follow from the run's seed, so that the run can be repeated; who knows it knows them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

from experiments.declaration.job import esp_keys
from experiments.declaration.spec import RunSpec
from nodes.ipsec.security_associations import (
    KEY_OCTETS,
    LEAST_SPI,
    SecurityAssociation,
    write_keys,
)
from topologies.model import Role, Topology


def security_associations(topology: Topology, seed: int) -> Iterator[SecurityAssociation]:
    """In both directions between the LMA and each MAG."""
    lma = topology.nodes[topology.node_with_role(Role.LMA)].address
    mags = [node.address for node in topology.nodes.values() if node.role is Role.MAG]
    spi = LEAST_SPI
    for mag in mags:
        assert lma is not None
        assert mag is not None
        for source, destination in ((mag, lma), (lma, mag)):
            yield SecurityAssociation(source, destination, spi, _key(seed, source, destination))
            spi += 1


def node_keys(state: Path, node: str) -> Path:
    """The file with the keys of a node, in the folder that the nodes of a run keep things in."""
    return state / f"{node}.keys"


def provide_keys(spec: RunSpec, seed: int, state: Path, folder: Path) -> None:
    """Those of each node in a file of its own, and all of them in the run's folder."""
    if spec.protocol.protection != "keys":
        return
    topology = spec.topology
    associations = list(security_associations(topology, seed))
    for name, node in topology.nodes.items():
        if node.role in (Role.LMA, Role.MAG):
            own = [sa for sa in associations if node.address in (sa.source, sa.destination)]
            write_keys(node_keys(state, name), own)
    write_keys(esp_keys(folder), associations)


def _key(seed: int, source: IPv6Address, destination: IPv6Address) -> bytes:
    text = f"ESP {seed} {source} {destination}".encode()
    return hashlib.blake2b(text, digest_size=max(KEY_OCTETS)).digest()
