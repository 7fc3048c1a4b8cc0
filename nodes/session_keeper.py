"""An LMA that goes on with the sessions of an earlier start, and keeps its own on disk."""

from __future__ import annotations

import random

from nodes.actions import Persist
from nodes.config import LmaConfig
from nodes.daemon import now
from nodes.event_log import EventWriter
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor
from nodes.restart_counter import count_start, same_start
from nodes.session_file import Found, SessionFile


class SessionKeeper:
    """`found`: whether there are sessions of an earlier start."""

    def __init__(self, file: SessionFile, found: Found) -> None:
        self._file = file
        self._note = found.note
        self.found = bool(found.records)

    def write(self, action: Persist, events: EventWriter) -> None:
        """A disk that is full or isn't there doesn't end the service: the events say that a start
        after this one would know nothing, and writing is tried again with the next change."""
        if self._note is not None:
            events.write("sessions", {"note": self._note})
            self._note = None
        try:
            self._file.append(action.records)
        except OSError as error:
            events.write("sessions-not-written", {"why": str(error)})

    def close(self) -> None:
        self._file.close()


def recovered(
    config: LmaConfig, rng: random.Random
) -> tuple[LocalMobilityAnchor, SessionKeeper | None]:
    """An LMA with the sessions that its file has, if it has one. RFC 5847 section 3.2: only a start
    that has lost them counts as a restart. Raises OSError or InputError."""
    if config.sessions is None:
        return LocalMobilityAnchor(config, rng, count_start(config.state)), None
    file = SessionFile(config.sessions, config.address)
    found = file.find()
    keeper = SessionKeeper(file, found)
    start = same_start(config.state) if keeper.found else count_start(config.state)
    core = LocalMobilityAnchor(config, rng, start)
    if keeper.found:
        core.restore(found.records, now())
    file.everything = core.storage.everything
    return core, keeper
