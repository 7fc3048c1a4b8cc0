"""What a change of access did to a flow, for arrivals that are worked out by hand."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.interruption import (
    goodput_columns,
    interruption_columns,
    longest_gap_s,
    signalling_columns,
)
from experiments.analysis.signalling import AttachmentFrame, ControlMessage, Signalling
from experiments.analysis.traces import Trace
from experiments.declaration.flows import TcpDownload, UdpFlow

VOICE = UdpFlow(anchor="wlan", start="wlan", port=5001, until_s=14.0)
DOWNLOAD = TcpDownload(anchor="wlan", start="wlan", port=5010, until_s=14.0)
INSTANT = 8.0
MEGABIT = 125_000  # octets


def stream(received: dict[int, float | None]) -> Trace:
    """Packets every 20 ms from second 5 on, which take 20 ms but for those in `received`."""
    sent = [round(5 + 0.02 * number, 5) for number in range(450)]
    got = [received.get(number, at + 0.02) for number, at in enumerate(sent)]
    table = pd.DataFrame(
        {
            "flow": "a",
            "direction": "down",
            "sequence": range(450),
            "bytes": 188,
            "sent_s": sent,
            "lma_s": sent,
            "lma_access": "wlan",
            "received_s": [np.nan if at is None else at for at in got],
            "access": "wlan",
            "overhead": 48,
        }
    )
    return Trace(table, "a")


def columns(received: dict[int, float | None]) -> dict[str, Any]:
    return interruption_columns(INSTANT, VOICE, stream(received).down)


def test_an_undisturbed_stream_is_not_interrupted() -> None:
    found = columns({})
    assert found["interruption_ms"] == 0.0
    assert (found["broken"], found["lost_around"], found["sent_around"]) == (0, 0, 200)


def test_lost_packets_are_a_gap_less_the_spacing() -> None:
    found = columns({150: None, 151: None})
    assert found["interruption_ms"] == pytest.approx(40.0)
    assert found["lost_around"] == 2


def test_a_gap_before_the_instant_is_none_of_its_doing() -> None:
    assert columns({100: None, 101: None})["interruption_ms"] == 0.0


def test_a_copy_of_what_was_there_ends_no_gap() -> None:
    times = np.array([7.9, 8.5])
    assert longest_gap_s(times, INSTANT, 9.0) == pytest.approx(0.6)


def test_a_stream_that_stays_away_is_broken_until_its_end() -> None:
    found = columns(dict.fromkeys(range(150, 450)))
    assert found["broken"] == 1
    # The last arrival is at 8.0, and the flow ends at 14.0.
    assert found["interruption_ms"] == pytest.approx(5980.0)


def test_a_gap_that_ends_later_than_it_is_watched_counts_whole() -> None:
    found = columns(dict.fromkeys(range(150, 400)))
    assert found["interruption_ms"] == pytest.approx(5000.0)
    assert found["broken"] == 0


def constant(pieces: list[tuple[float, float, float]]) -> dict[str, Any]:
    """Goodput of arrivals every ms: (from, until, Mbit/s)."""
    times: list[float] = []
    octets: list[int] = []
    for start, end, mbit in pieces:
        steps = round((end - start) * 1000)
        times += [start + (number + 0.5) / 1000 for number in range(steps)]
        octets += [round(mbit * MEGABIT / 1000)] * steps
    return goodput_columns(np.array(times), np.array(octets), INSTANT, 14.0)


def test_from_20_to_10_mbit_without_a_gap_is_no_dip() -> None:
    found = constant([(5, 8, 20.0), (8, 14, 10.0)])
    assert found["before_mbit"] == pytest.approx(20.0, rel=0.01)
    assert found["later_mbit"] == pytest.approx(10.0, rel=0.01)
    assert found["goodput_dip_percent"] == pytest.approx(0.0, abs=1.5)
    assert found["recovery_ms"] == 0.0


def test_half_a_second_without_anything_is_a_whole_dip() -> None:
    found = constant([(5, 8, 20.0), (8.5, 14, 10.0)])
    assert found["goodput_dip_percent"] == 100.0
    # In whole 20 ms.
    assert (found["recovery_ms"], found["recovered"]) == (500.0, 1)


def test_a_slow_start_on_the_new_access_delays_recovery() -> None:
    found = constant([(5, 8, 20.0), (8.1, 9.1, 4.0), (9.1, 14, 10.0)])
    assert found["goodput_dip_percent"] == 100.0
    assert found["recovery_ms"] == pytest.approx(1100)


def test_a_surplus_of_the_old_access_hides_no_gap_behind_it() -> None:
    """In the first half second 20 Mbit/s for 0.3 s are 60 % of what 10 Mbit/s bring in 1 s."""
    found = constant([(5, 8.3, 20.0), (8.5, 14, 10.0)])
    assert found["recovery_ms"] == pytest.approx(500)


def test_a_short_pause_that_begins_with_the_instant_is_waited_for() -> None:
    found = constant([(5, 8, 20.0), (8.04, 14, 10.0)])
    assert found["recovery_ms"] == pytest.approx(40)


def test_a_stall_at_the_end_makes_the_goal_no_easier() -> None:
    found = constant([(5, 8, 20.0), (8.0, 9.0, 7.0), (9.0, 12.5, 10.0), (13.2, 14, 10.0)])
    assert found["later_mbit"] == pytest.approx(6.5, rel=0.01)
    assert found["recovery_ms"] == pytest.approx(1000)


def test_a_flow_that_comes_and_goes_does_not_recover() -> None:
    pieces = [(8 + n * 0.4, 8 + n * 0.4 + 0.25, 10.0) for n in range(10)]
    found = constant([(5, 8, 20.0), *pieces, (12.0, 14.0, 40.0)])
    assert found["recovery_ms"] == pytest.approx(4000)
    found = constant([(5, 8, 20.0), *[(8 + n * 0.4, 8.25 + n * 0.4, 10.0) for n in range(15)]])
    assert found["recovered"] == 0
    assert "recovery_ms" not in found


def test_what_never_comes_back_has_no_recovery() -> None:
    found = constant([(5, 8, 20.0)])
    assert found["later_mbit"] == 0.0
    assert "recovery_ms" not in found


def test_downloads_have_goodput_and_streams_have_none() -> None:
    assert "later_mbit" in interruption_columns(INSTANT, DOWNLOAD, stream({}).down)
    assert "later_mbit" not in columns({})


def test_signalling_counts_from_the_instant_on() -> None:
    def message(at_s: float, size: int) -> ControlMessage:
        return ControlMessage(round(at_s * 100_000), 5, -1, size, False, IPv6Address("::1"))

    control = [message(*entry) for entry in ((2.0, 128), (8.01, 100), (8.03, 60), (11.5, 128))]
    found = signalling_columns(INSTANT, Signalling(control, []))
    assert found == {
        "signalling_messages": 2,
        "signalling_bytes": 160,
        "access_signalling_messages": 0,
        "access_signalling_bytes": 0,
    }
    frames = [AttachmentFrame(round(at_s * 100_000), 1, 44, "mn-cell") for at_s in (2.0, 8.5)]
    found = signalling_columns(INSTANT, Signalling([], frames))
    assert (found["access_signalling_messages"], found["access_signalling_bytes"]) == (1, 44)
