"""How an LMA's daemon takes its messages in: in the order of `nodes.lma.signalling_queue`."""

from __future__ import annotations

from collections.abc import Callable

from nodes.actions import Instant
from nodes.daemon import Daemon
from nodes.kernel.sockets import MobilitySocket, Received
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor
from nodes.lma.signalling_queue import WaitingMessages
from nodes.wire.messages import Message


def serve_in_order(daemon: Daemon, core: LocalMobilityAnchor) -> None:
    def receive(message: Message, received: Received, at: Instant) -> None:
        # RFC 5213 section 5.5: timestamps are compared with the time of arrival, which may be long
        # ago under load.
        core.receive(message, received.source, at._replace(unix_ns=received.arrived_ns))

    waiting: WaitingMessages[Callable[[], None]] = WaitingMessages(
        core.bindings, core.config.max_waiting_messages
    )
    daemon.serve_mobility(MobilitySocket(core.config.address), receive, waiting)
