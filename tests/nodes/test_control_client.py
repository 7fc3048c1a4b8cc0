import json
import socket
import threading
from pathlib import Path

import pytest

from nodes.control_client import ControlError, request


def serve(path: Path, *chunks: bytes) -> list[bytes]:
    """Answer one connection with `chunks`, and return what came."""
    received: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def answer() -> None:
        channel, _ = listener.accept()
        with listener, channel:
            received.append(channel.recv(65536))
            for chunk in chunks:
                channel.sendall(chunk)

    threading.Thread(target=answer, daemon=True).start()
    return received


def test_a_reply_may_come_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "s"
    received = serve(path, b'{"ok": true, "res', b'ult": [1]}\n')
    assert request(path, {"op": "flows"}) == {"ok": True, "result": [1]}
    assert json.loads(received[0]) == {"op": "flows", "id": 1}
    assert received[0].endswith(b"\n")


def test_a_refusal_is_an_error_with_its_reason(tmp_path: Path) -> None:
    serve(tmp_path / "s", b'{"ok": false, "error": "no flow 7"}\n')
    with pytest.raises(ControlError, match=r"^no flow 7$"):
        request(tmp_path / "s", {"op": "move-flow"})


@pytest.mark.parametrize("reply", [b"", b"nonsense\n", b"[]\n", b'{"ok": 1}\n', b'{"ok": true'])
def test_a_broken_reply_is_an_error(tmp_path: Path, reply: bytes) -> None:
    serve(tmp_path / "s", reply)
    with pytest.raises(ControlError):
        request(tmp_path / "s", {"op": "flows"})


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="gone: No such file"):
        request(tmp_path / "gone", {"op": "flows"})


def test_waiting_has_an_end(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    with listener, pytest.raises(ControlError, match=r"no reply within 0\.05 s"):
        request(tmp_path / "s", {"op": "flows"}, timeout_s=0.05)
