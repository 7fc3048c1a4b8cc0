"""TCP connections whose other end may go without a word: a host that has gone says nothing."""

from __future__ import annotations

import socket

INTERVAL_S, PROBES = 1, 3


def keep_alive(connection: socket.socket, idle_s: int) -> None:
    """Have the connection fail once nothing has come for `idle_s` and probes aren't answered."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, idle_s),
        (socket.TCP_KEEPINTVL, INTERVAL_S),
        (socket.TCP_KEEPCNT, PROBES),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
