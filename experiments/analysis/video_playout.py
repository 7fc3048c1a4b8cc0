"""What a video stream is worth: startup delay and stalls of a player with a buffer.

The player starts when it has `start_s` seconds of video, plays at the video's rate, stops when the
buffer is empty, and goes on when it has `resume_s` seconds again.
"""

from __future__ import annotations

from typing import NamedTuple

from experiments.captures.frames import Floats
from topologies.model import BITS_PER_BYTE


class Playout(NamedTuple):
    """Times in s. `startup_s` counts from the first octet; None: it never started. A stall that
    has not ended counts up to the last octet or the end of the video's time."""

    startup_s: float | None
    stalls: int
    stalled_s: float


def playout(
    received_s: Floats,
    octets: Floats,
    bitrate_mbit: float,
    start_s: float = 2.0,
    resume_s: float = 1.0,
) -> Playout:
    """Of a stream whose octets, in order, were received at these times. Raises ValueError unless
    there are as many times as counts, and times don't fall."""
    if len(received_s) != len(octets):
        raise ValueError(
            f"octets has {len(octets)} values; expected {len(received_s)}, one for each time"
        )
    if (received_s[1:] < received_s[:-1]).any():
        raise ValueError("received_s falls; expected times in order")
    video_s = octets * BITS_PER_BYTE / (bitrate_mbit * 1e6)
    buffered, needed, playing = 0.0, start_s, False
    startup: float | None = None
    stalls, stalled, since = 0, 0.0, 0.0
    previous = float(received_s[0]) if len(received_s) else 0.0
    first = previous
    for time, amount in zip(received_s.tolist(), video_s.tolist(), strict=True):
        if playing:
            buffered -= time - previous
            if buffered < 0:
                playing, stalls, since = False, stalls + 1, time + buffered
                buffered, needed = 0.0, resume_s
        buffered += amount
        # Sums of fractions miss what they add up to by rounding errors.
        if not playing and buffered >= needed - 1e-9:
            playing = True
            if startup is None:
                startup = time - first
            else:
                stalled += time - since
        previous = time
    if stalls and not playing:
        stalled += previous - since
    return Playout(startup, stalls, stalled)
