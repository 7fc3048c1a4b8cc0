"""Runs one application in a process of its own: the part of `osken-manager` that a run needs.

os-ken has no such command any more, Ryu's starts a web server, and neither tells when it listens.
"""

from __future__ import annotations

import logging
import os
import random
import signal
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, Literal

import msgspec

from nodes.kernel.confinement import confine


class ControllerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`application` is `module:Class`, and `arguments` are what the class is called with.

    `address` and `port` are where switches connect; `::` is every address of the node. The
    controller asks a switch for an echo every `echo_interval_s`, and gives the connection up after
    `unanswered_echoes` without a reply (0: never asks, the default of both frameworks).
    """

    application: str
    arguments: dict[str, Any] = {}
    framework: Literal["os-ken", "ryu"] = "os-ken"
    address: str = "::"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 6653
    echo_interval_s: Annotated[float, msgspec.Meta(gt=0)] = 15.0
    unanswered_echoes: Annotated[int, msgspec.Meta(ge=0)] = 0
    seed: int = 0


def run_controller(config: ControllerConfig, node: str, ready: Callable[[], None]) -> None:
    """Serve switches until SIGTERM; for a process that does nothing else.

    `ready` is called once connections are accepted. Logs go to standard error. Raises
    FrameworkError, and what importing and making the application raises.
    """
    logging.basicConfig(level=logging.INFO, format=f"%(created).6f {node} %(name)s: %(message)s")
    # Transaction numbers of a connection start at random.
    random.seed(config.seed)
    os.environ["FLOWMOB_CONTROLLER"] = config.framework
    # Only now: importing it is the choice.
    from controllers import connection, framework

    module, _, name = config.application.partition(":")
    application_class = getattr(import_module(module), name)

    settings: Any = framework.controller.CONF
    settings.set_override("echo_request_interval", config.echo_interval_s)
    settings.set_override("maximum_unreplied_echo_requests", config.unanswered_echoes)
    manager = framework.app_manager.AppManager.get_instance()
    handshakes = manager.instantiate(connection.Handshakes)
    application = manager.instantiate(application_class, **config.arguments)

    def end(_number: int, _frame: object) -> None:
        application.close()
        logging.shutdown()
        # Threads of os-ken that wait for a switch don't end.
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    server = framework.hub.StreamServer((config.address, config.port), connection.serve)
    # Before there are threads: each has capabilities of its own.
    confine(())
    handshakes.start()
    application.start()
    ready()
    server.serve_forever()
