"""Checks of the prompt, with a stand-in for the LMA's control socket."""

from __future__ import annotations

import contextlib
import io
import json
import socket

from tests.system.guest_checks.support import folder, reference
from topologies.namespaces import fork_into
from topologies.network import running
from topologies.shell import FlowShell

COMMANDS = """
help
help link
bindings
flows
move 1 cell
move 7 cell
move 1 moon
link cn-lma
link cn-lma up
link cn-lma down delay=20 rate=none
link cn-lma sideways delay=20
link nowhere delay=1
lma echo running in $(readlink /proc/self/ns/net)
cn echo lma
exit
"""


def _answer(listener: socket.socket) -> None:
    while True:
        channel, _ = listener.accept()
        with channel, channel.makefile("rwb") as stream:
            message = json.loads(stream.readline())
            reply: dict[str, object] = {"ok": True, "result": [{"fid": 1, "access": "wlan"}]}
            if message.get("fid") == 7:
                reply = {"ok": False, "error": "no flow 7"}
            stream.write(json.dumps(reply).encode() + b"\n")


def check_shell() -> None:
    """Every command answers, a wrong one with what was expected, and the network follows."""
    with folder() as place, running(reference(), 1) as network:
        path = place / "control"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        server = fork_into(None, _answer, listener, log=place / "log")
        script = place / "commands"
        script.write_text(COMMANDS.strip() + "\n", encoding="ascii")
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                FlowShell(network, path, "mn1@example", script=str(script))
        finally:
            server.kill()
            server.wait(5)
            listener.close()
        assert network.direction("cn-lma", "down").delay_ms == 20
        assert network.direction("cn-lma", "up").delay_ms == 5
    text = output.getvalue()
    for expected in (
        "bindings",
        "Change a link in place",
        "fid  access\n1    wlan\n",
        "no flow 7",
        "expected one of wlan, cell",
        "'sideways': expected one of delay",
        "link 'nowhere'; expected one of cn-lma",
    ):
        assert expected in text, (expected, text)
