"""What a voice call is worth: the E-model of ITU-T G.107 on the packets of a flow.

Defaults of G.107 for all that a network does not change (R is 93.2 without delay and loss), and
echo is taken to be cancelled, so that delay counts by Idd alone. A receiver with a fixed playout
delay hears a packet if it came in time; one that came too late is as good as lost.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.captures.frames import Floats

DEFAULT_RATING = 93.2  # G.107 section 7.7: Ro - Is with all defaults
DELAY_PERCEPTIBLE_MS = 100.0  # mT of G.107 table 1
PLAYOUT_MS = 100.0


class Codec(NamedTuple):
    """Ie and Bpl as in ITU-T G.113 appendix I; `delay_ms`: packetisation and look-ahead."""

    equipment_impairment: float
    loss_robustness: float
    delay_ms: float


G711 = Codec(0.0, 25.1, 20.0)  # with packet loss concealment (G.711 appendix I)
G729A = Codec(11.0, 19.0, 25.0)


class CallQuality(NamedTuple):
    """`score`: mean opinion score, 1 to 4.5. `missing`: share of the packets not played, 0 to 1.
    `burst_ratio`: mean length of the gaps, over that of random loss at the same share."""

    score: float
    rating: float
    missing: float
    burst_ratio: float


def delay_impairment(mouth_to_ear_ms: float) -> float:
    """Idd of G.107 section 7.4 (equations 7-27 and 7-28, sT = 1)."""
    if mouth_to_ear_ms <= DELAY_PERCEPTIBLE_MS:
        return 0.0
    x = math.log2(mouth_to_ear_ms / DELAY_PERCEPTIBLE_MS)
    return 25 * (math.pow(1 + x**6, 1 / 6) - 3 * math.pow(1 + (x / 3) ** 6, 1 / 6) + 2)


def loss_impairment(missing: float, codec: Codec, burst_ratio: float = 1.0) -> float:
    """Ie,eff of G.107 section 7.5 for a share of packets between 0 and 1."""
    percent = 100 * missing
    robustness = percent / max(burst_ratio, 1.0) + codec.loss_robustness
    return codec.equipment_impairment + (95 - codec.equipment_impairment) * percent / robustness


def mean_opinion_score(rating: float) -> float:
    """G.107 annex B; not below 1, where its polynomial is for ratings from 0 to 6.5."""
    if rating >= 100:
        return 4.5
    if rating <= 0:
        return 1.0
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)


def burst_ratio(played: npt.NDArray[np.bool_]) -> float:
    """BurstR of G.107 section 7.5; 1 for random loss, and where nothing or everything is lost."""
    lost = ~played
    share = float(lost.mean()) if len(lost) else 0.0
    if not 0 < share < 1:
        return 1.0
    gaps = int(lost[0]) + int((lost[1:] & ~lost[:-1]).sum())
    return float(lost.sum()) / gaps * (1 - share)


def call_quality(
    delays_ms: Floats, playout_ms: float = PLAYOUT_MS, codec: Codec = G711
) -> CallQuality:
    """Of packets in the order in which they were sent, with their one-way delays; not finite: lost.

    `playout_ms` is the delay from sending to playing that the receiver keeps. Raises ValueError if
    there are no packets.
    """
    if not len(delays_ms):
        raise ValueError("delays_ms is empty; expected one packet at least")
    played = np.isfinite(delays_ms) & (delays_ms <= playout_ms)
    missing = 1 - float(played.mean())
    bursts = burst_ratio(played)
    rating = (
        DEFAULT_RATING
        - delay_impairment(playout_ms + codec.delay_ms)
        - loss_impairment(missing, codec, bursts)
    )
    return CallQuality(mean_opinion_score(rating), rating, missing, bursts)
