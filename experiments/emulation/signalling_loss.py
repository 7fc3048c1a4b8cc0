"""Signalling that gets lost between LMA and MAGs, and nothing else that does.

A process in the node that receives looks at each Mobility Header message after the capture has seen
it, and drops some. Which ones depends on the run's seed, the node and the messages before, and not
on time. The losses are in the node's events.
"""

from __future__ import annotations

import hashlib
import random
import select
import signal
from pathlib import Path
from types import FrameType

from experiments.declaration.spec import SignallingLoss
from nodes.event_log import EventWriter
from nodes.kernel.nftables import Transactions
from nodes.kernel.packet_queue import PacketQueue

TABLE = "ip6 flowmob_loss"
QUEUE = 2
MOBILITY_HEADER = 135
_RULES = f"""
table {TABLE} {{
  chain signalling {{
    type filter hook input priority raw; policy accept;
    meta l4proto {MOBILITY_HEADER} queue flags bypass to {QUEUE}
  }}
}}
"""


class GilbertElliott:
    """The simple Gilbert model: all is lost in the bad state and nothing in the good one. Without
    `mean_burst` each message is lost by itself."""

    def __init__(self, loss: SignallingLoss, rng: random.Random) -> None:
        self._rng = rng
        self._loss = loss.probability
        self._to_bad, self._to_good = loss.transitions()
        self._bad = False

    def lost(self) -> bool:
        """Whether the next message is."""
        if self._to_good is None:
            return self._rng.random() < self._loss
        self._bad = self._rng.random() < (1 - self._to_good if self._bad else self._to_bad)
        return self._bad


def generator(seed: int, node: str) -> random.Random:
    text = f"signalling loss {seed} {node}".encode()
    return random.Random(hashlib.blake2b(text, digest_size=8).digest())


def lose_signalling(loss: SignallingLoss, seed: int, node: str, events: Path) -> None:
    """Until SIGTERM, in the namespace of `node`; messages pass untouched before and after."""
    model = GilbertElliott(loss, generator(seed, node))
    queue = PacketQueue(QUEUE)
    signal.signal(signal.SIGTERM, _end)
    with EventWriter(events, node) as writer:
        try:
            Transactions().run(f"add table {TABLE}", f"delete table {TABLE}", _RULES)
            while True:
                select.select([queue], [], [])
                for packet in queue.receive():
                    if model.lost():
                        queue.drop(packet)
                        writer.write("message-lost", {})
                    else:
                        queue.accept(packet)
        finally:
            queue.close()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
