from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.config import LinkReports
from nodes.mag.access_link_reporter import AccessLinkReporter
from nodes.wire.options import AccessLinkReport


def test_the_first_values_are_told_at_once_and_small_changes_are_not() -> None:
    reporter = AccessLinkReporter(LinkReports(quality_step=5))
    assert reporter.deadline("wlan") is None
    reporter.measured("wlan", quality=80)
    assert reporter.take("wlan", 1.0) == AccessLinkReport(quality=80)
    reporter.measured("wlan", quality=76)
    assert reporter.deadline("wlan") is None
    reporter.measured("wlan", quality=75)
    assert reporter.deadline("wlan") == 2.0
    assert reporter.take("wlan", 1.9) is None
    reporter.measured("wlan", load=30)
    assert reporter.take("wlan", 2.0) == AccessLinkReport(75, 30)


def test_what_becomes_known_is_a_change_of_any_size() -> None:
    reporter = AccessLinkReporter(LinkReports(load_step=100))
    reporter.measured("wlan", quality=80)
    reporter.take("wlan", 0.0)
    reporter.measured("wlan", load=1)
    assert reporter.take("wlan", 1.0) == AccessLinkReport(80, 1)


def test_the_next_node_starts_anew() -> None:
    reporter = AccessLinkReporter(LinkReports())
    reporter.measured("wlan", quality=80)
    reporter.take("wlan", 0.0)
    reporter.forget("wlan")
    assert reporter.deadline("wlan") is None
    reporter.measured("wlan", quality=80)
    assert reporter.take("wlan", 0.1) == AccessLinkReport(quality=80)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 100)), max_size=50))
def test_never_more_than_max_update_rate_rfc6275_12(course: list[tuple[float, int]]) -> None:
    reporter = AccessLinkReporter(LinkReports(min_interval_s=0.334, quality_step=1))
    now, sent = 0.0, []
    for step, quality in course:
        now += step
        reporter.measured("wlan", quality=quality)
        if reporter.take("wlan", now) is not None:
            sent.append(now)
    for earlier, later in zip(sent, sent[3:], strict=False):
        assert later - earlier > 1.0
