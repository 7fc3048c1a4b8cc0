"""Writes the generated traces of `experiments/access_traces`: the same ones, each time."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

from experiments.declaration.cellular_trace import generate_trace, write_trace
from experiments.declaration.link_changes import FOLDER

# Log-distance path loss in an office (exponent 3.5, 40 dB at 1 m), 20 dBm sent, -90 dBm of noise.
SENT_DBM, NOISE_DBM, FIRST_METRE_DB, EXPONENT = 20.0, -90.0, 40.0, 3.5
WALK_M_PER_S, NEAREST_M, FARTHEST_M, STEP_S = 1.4, 5.0, 45.0, 0.5
# Shadowing by people and doors: normal, in dB, forgotten within some steps.
SHADOWING_DB, SHADOWING_MEMORY = 3.0, 0.7
BEST_SNR_DB, WORST_SNR_DB = 40.0, 12.0
# A station's share of the channel; below the best SNR the rate falls as 802.11's steps do.
BEST_MBIT, LEAST_MBIT = 50.0, 1.0


def snr_db(metres: float) -> float:
    loss = FIRST_METRE_DB + 10 * EXPONENT * math.log10(metres)
    return SENT_DBM - loss - NOISE_DBM


def quality(snr: float) -> int:
    share = (snr - WORST_SNR_DB) / (BEST_SNR_DB - WORST_SNR_DB)
    return round(100 * min(1.0, max(0.0, share)))


def walk() -> Iterator[tuple[float, float]]:
    """Time (s) and distance (m): away from the access point, and back."""
    there_s = (FARTHEST_M - NEAREST_M) / WALK_M_PER_S
    for step in range(int(2 * there_s / STEP_S) + 1):
        time = step * STEP_S
        walked = min(time, 2 * there_s - time) * WALK_M_PER_S
        yield time, NEAREST_M + walked


def walk_table() -> str:
    lines = [
        "# Somebody walks from 5 m to 45 m from the access point at 1.4 m/s, and back.",
        "time_s,rate_mbit,loss,quality",
    ]
    rng, shadow = random.Random(1), 0.0
    for time, metres in walk():
        fresh = rng.gauss(0.0, SHADOWING_DB * math.sqrt(1 - SHADOWING_MEMORY**2))
        shadow = shadow * SHADOWING_MEMORY + fresh
        percent = quality(snr_db(metres) + shadow)
        rate = max(LEAST_MBIT, round(BEST_MBIT * percent / 100, 1))
        # Retransmissions hide losses until the last quarter of the range.
        loss = round(max(0.0, (25 - percent) / 25) ** 2 * 0.5, 4)
        lines.append(f"{time:g},{rate:g},{loss:g},{percent}")
    return "\n".join([*lines, ""])


def main(folder: Path = FOLDER) -> None:
    (folder / "walk-out.csv").write_text(walk_table(), encoding="ascii")
    write_trace(generate_trace(8.0, seed=1, duration_s=30), folder / "lte-8mbit.packets")


if __name__ == "__main__":
    main()
