"""What the daemons of a running testbed may do, as the kernel tells it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.system.guest_checks.path_checks import LINKS as SWITCHED_LINKS
from tests.system.guest_checks.scenario import LINKS, scenario
from topologies.namespaces import Child


def privileges(folder: Path, switched: bool = False) -> dict[str, Any]:
    """Of each daemon, before and after accesses come and go and a flow moves there and back."""
    with scenario(folder, SWITCHED_LINKS if switched else LINKS) as course:
        foreign = Path(tempfile.gettempdir()) / "foreign"
        foreign.write_text("another process's")
        daemons = course.bed.daemons
        before = {child.name: _threads(child) for child in daemons}
        course.attach()
        course.start_traffic()
        course.order("a", "cell")
        course.until(6.0)
        course.network.set_access("cell", False)
        course.until(7.0)
        course.network.set_access("cell", True)
        course.until(8.0)
        return {
            "before": before,
            "after": {child.name: _threads(child) for child in daemons},
            "temporary": {child.name: _temporary(child, foreign.parent) for child in daemons},
            "state": course.state.name,
            "answers": course.answers(1),
            "ended": course.bed.ended(),
            "of_this": _status(Path("/proc/self/status")),
            "sockets": {
                path.name: oct(path.stat().st_mode)
                for path in (course.state, *course.state.glob("*.sock"))
            },
        }


def _threads(child: Child) -> list[dict[str, str]]:
    tasks = Path(f"/proc/{child.pid}/task")
    return [_status(task / "status") for task in sorted(tasks.iterdir())]


def _status(path: Path) -> dict[str, str]:
    fields = (line.partition(":\t") for line in path.read_text().splitlines())
    return {name: value for name, _, value in fields if name.startswith(("Cap", "NoNewPrivs"))}


def _temporary(child: Child, temporary: Path) -> dict[str, Any]:
    """The folder for temporary files as the daemon has it: what is in it, whose, and a link that
    says which file system it is on."""
    seen = Path(f"/proc/{child.pid}/root") / temporary.relative_to("/")
    return {
        "names": sorted(path.name for path in seen.iterdir()),
        "mode": oct(seen.stat().st_mode & 0o777),
        "own": seen.stat().st_dev != temporary.stat().st_dev,
    }
