"""OpenFlow connections of switches, under both frameworks.

Both have a server of their own, which listens at an address that their global options say. And
os-ken's doesn't notice that a switch has gone before it sends it something: the thread that sends
waits for a message for ever, and the state that applications are told of stays as it was.
"""

from __future__ import annotations

import contextlib
from typing import Any

from controllers.framework import controller, ofp_handler


class Connection(controller.Datapath):  # type: ignore[misc]
    """A switch. Tells applications (EventOFPStateChange, DEAD) as soon as it has gone."""

    def _recv_loop(self) -> None:
        try:
            super()._recv_loop()
        finally:
            self.close()
            self.send(b"", close_socket=True)


class Handshakes(ofp_handler.OFPHandler):  # type: ignore[misc]
    """Hello, features and echo, as the framework has them, without its server."""

    def start(self) -> None:
        super(ofp_handler.OFPHandler, self).start()


def serve(channel: Any, address: Any) -> None:
    """Serve the switch that has connected until it goes."""
    with contextlib.closing(Connection(channel, address)) as connection:
        connection.serve()
