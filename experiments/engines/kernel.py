"""The guest kernel: `python3 -m experiments.engines.kernel build|find|clean`.

Standard library only and at home on the distribution's own Python, because it runs before there
is a virtual environment.
"""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType
from typing import NoReturn

from experiments.engines.kernel_build import ensure_kernel
from experiments.engines.kernel_cache import Kernel, clean, find_kernel, kernels_dir
from experiments.engines.kernel_config import KernelError

__all__ = ["Kernel", "KernelError", "ensure_kernel", "find_kernel", "main"]

INTERRUPTED_STATUS = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; errors are one message on standard error."""
    parser = argparse.ArgumentParser(
        prog="python3 -m experiments.engines.kernel", description=__doc__
    )
    parser.add_argument(
        "command",
        choices=("build", "find", "clean"),
        help="build: unless there is one; find: print its path; clean: remove all from the cache",
    )
    command = parser.parse_args(arguments).command
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if command == "build":
            ensure_kernel()
        elif command == "find":
            print(find_kernel().path)
        else:
            _clean()
    except KernelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing half-built was kept", file=sys.stderr)
        return INTERRUPTED_STATUS
    return 0


def _clean() -> None:
    removed = clean()
    for folder in removed:
        print(f"removed {folder}")
    if not removed:
        print(f"no guest kernel in {kernels_dir()}")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
