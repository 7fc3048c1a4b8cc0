"""The one place that knows which controller framework runs: os-ken (the default) or Ryu 4.34.

Applications take all names from here and import neither. The environment variable
`FLOWMOB_CONTROLLER`, `os-ken` or `ryu`, chooses when this module is first imported;
`controllers.process` sets it in the process that it makes for an application.

What an application may rely on under both: its handlers, and what it passes to `soon` and
`later`, run one after the other in one thread of control, the application's own. All else (os-ken's
threads, Ryu's green ones) stays below. Not portable: `hub.kill`, `hub.Timeout` and a time limit on
`hub.Event.wait`, which os-ken's threads don't honour.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Protocol

CHOICE = "FLOWMOB_CONTROLLER"
# The package of each framework, and its name for the class of applications.
FRAMEWORKS = {"os-ken": ("os_ken", "OSKenApp"), "ryu": ("ryu", "RyuApp")}


class FrameworkError(RuntimeError):
    """There is no such framework, or it is not installed; the text says what to do."""


def _prepare_ryu() -> None:
    """What Ryu, unmaintained since 2020, takes on today's Python and eventlet."""
    # Its own resolver, which Ryu doesn't need, takes long to import.
    os.environ["EVENTLET_NO_GREENDNS"] = "yes"
    # Nor TLS: a distribution's pyOpenSSL may not fit the newer `cryptography` of the virtual
    # environment, and then can't be imported. This makes it one that isn't there.
    sys.modules.setdefault("OpenSSL", None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wsgi: Any = import_module("eventlet.wsgi")
    # Ryu's web server imports it; eventlet 0.33 took it away.
    if not hasattr(wsgi, "ALREADY_HANDLED"):
        wsgi.ALREADY_HANDLED = object()
    # As `ryu-manager` does: calls that block switch to another green thread.
    import_module("ryu.lib.hub").patch(thread=False)


def _import_all(choice: str) -> dict[str, Any]:
    if choice not in FRAMEWORKS:
        known = ", ".join(FRAMEWORKS)
        raise FrameworkError(f"{CHOICE}: {choice!r}; expected one of {known}")
    package, _ = FRAMEWORKS[choice]
    names = (
        # app_manager first: Ryu's modules import each other in a circle.
        *("base.app_manager", "controller.controller", "controller.ofp_handler"),
        *("controller.event", "controller.handler", "controller.ofp_event"),
        *("lib.hub", "lib.packet", "ofproto.ofproto_v1_3", "ofproto.ofproto_v1_3_parser"),
    )
    try:
        if choice == "ryu":
            _prepare_ryu()
        return {name: import_module(f"{package}.{name}") for name in names}
    except ModuleNotFoundError as error:
        raise FrameworkError(
            f"controller framework {choice} is not installed ({error}): run `make venv`"
        ) from error


NAME = os.environ.get(CHOICE, "os-ken")
_modules = _import_all(NAME)

app_manager = _modules["base.app_manager"]
controller = _modules["controller.controller"]
event = _modules["controller.event"]
handler = _modules["controller.handler"]
hub = _modules["lib.hub"]
ofp_event = _modules["controller.ofp_event"]
ofp_handler = _modules["controller.ofp_handler"]
ofproto_v1_3 = _modules["ofproto.ofproto_v1_3"]
ofproto_v1_3_parser = _modules["ofproto.ofproto_v1_3_parser"]
packet = _modules["lib.packet"]

CONFIG_DISPATCHER = handler.CONFIG_DISPATCHER
DEAD_DISPATCHER = handler.DEAD_DISPATCHER
MAIN_DISPATCHER = handler.MAIN_DISPATCHER
set_ev_cls = handler.set_ev_cls


class Timer(Protocol):
    def cancel(self) -> object: ...


class Call(event.EventBase):  # type: ignore[misc, name-defined]
    """Something to be called in the application's own thread of control."""

    def __init__(self, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        super().__init__()
        self.function, self.arguments = function, arguments


class Application(getattr(app_manager, FRAMEWORKS[NAME][1])):  # type: ignore[misc]
    """The base of applications. OpenFlow 1.3 only."""

    OFP_VERSIONS = (ofproto_v1_3.OFP_VERSION,)

    def soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call `function` in the application's own thread of control, from any other one."""
        self.send_event(self.name, Call(function, arguments))

    def later(self, delay_s: float, function: Callable[..., object], *arguments: Any) -> Timer:
        """The same after `delay_s`, unless `cancel` of what is returned is called before."""
        timer: Timer = hub.spawn_after(delay_s, self.soon, function, *arguments)
        return timer

    def close(self) -> None:
        """Called when the process is told to end. Must not wait."""

    @set_ev_cls(Call)  # type: ignore[untyped-decorator]
    def _call(self, call: Call) -> None:
        call.function(*call.arguments)


def send_together(datapath: Any, messages: Iterable[Any]) -> list[int]:
    """Send OpenFlow messages to a switch in one piece, in order; returns their transaction ids.

    A message of its own for each would be a segment of its own for each. Messages to a switch that
    has gone vanish.
    """
    pieces, numbers = [], []
    for message in messages:
        if message.xid is None:
            datapath.set_xid(message)
        message.serialize()
        pieces.append(bytes(message.buf))
        numbers.append(message.xid)
    if pieces:
        datapath.send(b"".join(pieces))
    return numbers
