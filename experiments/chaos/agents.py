"""The daemons of a run: started, killed and started again."""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from experiments.chaos.domain import LMA, Domain
from experiments.emulation.testbed import EXIT_LIMIT_S, end, start
from nodes.config import LmaConfig
from nodes.daemons import PlacedNode, run_lma, run_mag, run_mn, run_mns
from topologies.namespaces import Child, enter
from topologies.network import Network

MOBILE_NODES = "mobile nodes"


class Agents:
    """All of a domain; the mobile nodes share a process."""

    def __init__(self, network: Network, domain: Domain, folder: Path) -> None:
        self._network = network
        self._folder = folder
        self.domain = domain
        self.running: dict[str, Child] = {}

    def start_all(self) -> None:
        self.start(LMA)
        for mag in self.domain.mags:
            self.start(mag)
        names, network = list(self.domain.mns), self._network
        if len(names) == 1:
            config = self.domain.mns[names[0]]
            child = start(network, names[0], run_mn, config, self._folder, MOBILE_NODES)
        else:
            nodes = [
                PlacedNode(self.domain.mns[mn], mn, partial(enter, network.namespace(mn)))
                for mn in names
            ]
            child = start(network, names[0], _serve_all, nodes, self._folder, MOBILE_NODES)
        self.running[MOBILE_NODES] = child

    def start(self, node: str) -> None:
        """Raises RunFailed if it doesn't serve."""
        run: Callable[..., None] = run_lma if node == LMA else run_mag
        config = self.domain.lma if node == LMA else self.domain.mags[node]
        self.running[node] = start(self._network, node, run, config, self._folder)

    def end(self, node: str, *, politely: bool) -> int:
        """Returns the exit status."""
        child = self.running.pop(node)
        if politely:
            child.terminate()
        else:
            child.kill()
        return child.wait(EXIT_LIMIT_S)

    def ended(self) -> list[Child]:
        """Those that were not asked to."""
        return [
            child for child in self.running.values() if select.select([child.pidfd], [], [], 0)[0]
        ]

    def configure_lma(self, config: LmaConfig) -> None:
        """For its next start."""
        self.domain = self.domain._replace(lma=config)

    def close(self) -> None:
        end(list(self.running.values()))
        self.running.clear()


def _serve_all(nodes: Sequence[PlacedNode], _: str, ready: Callable[[], None]) -> None:
    run_mns(nodes, ready)
