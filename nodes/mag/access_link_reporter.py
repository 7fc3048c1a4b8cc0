"""When a MAG tells the LMA about its access links (docs/access-link-report.md).

Reports ride in PBUs that extend a binding, and binding updates are limited to MAX_UPDATE_RATE, 3 a
second (RFC 6275 section 11.8 and 12): so a report waits for a change that is worth one and for its
interval to pass, and then tells the newest values.
"""

from __future__ import annotations

from dataclasses import dataclass

from nodes.config import LinkReports
from nodes.wire.options import UNKNOWN_DELAY, UNKNOWN_PERCENT, AccessLinkReport


@dataclass(slots=True)
class _Link:
    newest: AccessLinkReport
    sent: AccessLinkReport | None = None
    not_before: float = 0.0


class AccessLinkReporter:
    def __init__(self, settings: LinkReports) -> None:
        self._settings = settings
        self._links: dict[str, _Link] = {}

    def measured(
        self,
        interface: str,
        quality: int | None = None,
        load: int | None = None,
        queue_delay_ms: int | None = None,
    ) -> None:
        """Take new values of an access link; what is None stays as it was."""
        link = self._links.setdefault(interface, _Link(AccessLinkReport()))
        old = link.newest
        link.newest = AccessLinkReport(
            old.quality if quality is None else quality,
            old.load if load is None else load,
            old.queue_delay_ms if queue_delay_ms is None else queue_delay_ms,
        )

    def deadline(self, interface: str) -> float | None:
        """Monotonic time (s) at which a report is due; None if there is nothing worth telling."""
        link = self._links.get(interface)
        return link.not_before if link is not None and self._worth_telling(link) else None

    def take(self, interface: str, now: float) -> AccessLinkReport | None:
        """The report to send now, if one is due."""
        due = self.deadline(interface)
        if due is None or due > now:
            return None
        link = self._links[interface]
        link.sent = link.newest
        link.not_before = now + self._settings.min_interval_s
        return link.newest

    def forget(self, interface: str) -> None:
        """The mobile node left: what was told doesn't hold for the next."""
        self._links.pop(interface, None)

    def _worth_telling(self, link: _Link) -> bool:
        if link.sent is None:
            return True
        settings, old, new = self._settings, link.sent, link.newest
        return (
            _changed(old.quality, new.quality, settings.quality_step, UNKNOWN_PERCENT)
            or _changed(old.load, new.load, settings.load_step, UNKNOWN_PERCENT)
            or _changed(
                old.queue_delay_ms, new.queue_delay_ms, settings.queue_delay_step_ms, UNKNOWN_DELAY
            )
        )


def _changed(old: int, new: int, step: int, unknown: int) -> bool:
    return old != new and (unknown in (old, new) or abs(old - new) >= step)
