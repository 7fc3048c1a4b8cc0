"""OpenFlow connections of switches, under both frameworks.

Both have a server of their own, which listens at an address that their global options say. And
os-ken's doesn't notice that a switch has gone before it sends it something: the thread that sends
waits for a message for ever, and the state that applications are told of stays as it was.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

from controllers.framework import controller, ofp_handler

RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # struct linger


class Connection(controller.Datapath):  # type: ignore[misc]
    """A switch. Tells applications (EventOFPStateChange, DEAD) as soon as it has gone."""

    def _recv_loop(self) -> None:
        try:
            super()._recv_loop()
        finally:
            self.close()
            self.send(b"", close_socket=True)

    def abort(self) -> None:
        """End the connection with a reset. An orderly end would be behind what the switch hasn't
        acknowledged, which TCP repeats after ever longer times; a switch that has been out of reach
        would notice it that late, and connect anew."""
        self.close()
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            # Whoever reads from it keeps it open.
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


class Handshakes(ofp_handler.OFPHandler):  # type: ignore[misc]
    """Hello, features and echo, as the framework has them, without its server."""

    def start(self) -> None:
        super(ofp_handler.OFPHandler, self).start()


def serve(channel: Any, address: Any) -> None:
    """Serve the switch that has connected until it goes."""
    with contextlib.closing(Connection(channel, address)) as connection:
        connection.serve()
