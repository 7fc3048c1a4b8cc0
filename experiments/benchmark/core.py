"""What a registration costs the LMA's core alone, with few mobile nodes and with many."""

from __future__ import annotations

import random
import time
from ipaddress import IPv6Address
from pathlib import Path

from experiments.benchmark.bed import Bed, mag_address
from experiments.benchmark.lma_under_load import lma_config
from experiments.benchmark.signalling import MAGS, request
from nodes.config import MobileNodePolicy
from nodes.daemon import now
from nodes.lma.local_mobility_anchor import LocalMobilityAnchor

COUNTS = (1_000, 10_000)


def report_core() -> None:
    """In this process and on this machine's kernel, which has nothing to do."""
    first = 0.0
    for count in COUNTS:
        took_us = _registration_us(count)
        first = first or took_us
        print(
            f"core: {took_us:.0f} us of processor time for each of the last 1,000 of {count:,} "
            f"registrations, {took_us / first:.2f} of that of the last of {COUNTS[0]:,}"
        )


def _registration_us(count: int) -> float:
    mags = tuple(mag_address(number) for number in range(1, MAGS + 1))
    config = lma_config(Bed(0, 0, 0, mags), Path(), count, MobileNodePolicy())
    core = LocalMobilityAnchor(config, random.Random(1))
    _register(core, mags, range(count - 1_000))
    started = time.process_time()
    _register(core, mags, range(count - 1_000, count))
    return (time.process_time() - started) * 1_000_000 / 1_000


def _register(core: LocalMobilityAnchor, mags: tuple[IPv6Address, ...], numbers: range) -> None:
    for number in numbers:
        core.receive(request(number, number), mags[number % MAGS], now())
        core.take_actions()
        core.timer()
