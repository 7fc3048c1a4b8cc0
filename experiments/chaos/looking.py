"""Looks at the state of all nodes: what daemons say of themselves, and what their kernels have.

In virtual time a look takes a few microseconds; should something happen meanwhile, it is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from experiments.chaos.agents import MOBILE_NODES, Agents
from experiments.chaos.control import Client, ControlLost, NoAnswer
from experiments.chaos.domain import LMA
from experiments.chaos.kernel_state import KernelState
from topologies.network import Network

ATTEMPTS = 5
QUESTIONS = {"lma": ("bindings", "flows"), "mag": ("bindings",), "mn": ("status",)}
JSON = dict[str, Any]


class Looks:
    """`state` is the folder of the control sockets."""

    def __init__(self, network: Network, agents: Agents, state: Path) -> None:
        self._agents = agents
        self._state = state
        self._nodes = {LMA: "lma"}
        self._nodes |= dict.fromkeys(agents.domain.mags, "mag")
        self._nodes |= dict.fromkeys(agents.domain.mns, "mn")
        self._kernels = {node: KernelState(network.namespace(node)) for node in self._nodes}

    def close(self) -> None:
        for kernel in self._kernels.values():
            kernel.close()

    def look(self, *, everything: bool) -> JSON:
        """By node; of mobile nodes only if `everything` is wanted. Raises NoAnswer."""
        return {
            node: self.look_at(node)
            for node, role in self._nodes.items()
            if everything or role != "mn"
        }

    def look_at(self, node: str) -> JSON:
        """`running`, the answers of the daemon if it is, and the kernel's state."""
        role = self._nodes[node]
        with self._asking(node) as ask:
            for _ in range(ATTEMPTS):
                before = ask()
                kernel = self._kernels[node].look(nftables=role == "lma")
                if before == ask():
                    return {"running": before is not None, **(before or {}), "kernel": kernel}
        raise NoAnswer(f"{node}: its state changes as fast as it is looked at")

    def ask_all(self, node: str) -> JSON | None:
        """What the daemon says; None if it isn't running."""
        with self._asking(node) as ask:
            return ask()

    def ask(self, node: str, request: JSON) -> Any:
        """Raises NoAnswer, also if nobody serves."""
        with self._connected(node) as client:
            return client.ask(request)

    @contextmanager
    def _asking(self, node: str) -> Iterator[Callable[[], JSON | None]]:
        role = self._nodes[node]
        if (MOBILE_NODES if role == "mn" else node) not in self._agents.running:
            yield lambda: None
            return
        with self._connected(node) as client:
            questions = QUESTIONS[role]
            yield lambda: {question: client.ask({"op": question}) for question in questions}

    @contextmanager
    def _connected(self, node: str) -> Iterator[Client]:
        try:
            client = Client(self._state / f"{node}.sock")
        except ControlLost as error:
            raise NoAnswer(f"{node} runs, but {error}") from None
        try:
            yield client
        except ControlLost as error:
            raise NoAnswer(f"{node}: {error}") from None
        finally:
            client.close()
