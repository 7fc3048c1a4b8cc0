"""The benchmarks of a guest, small: that they measure what they say. Rates are for `make bench`."""

from __future__ import annotations

from experiments.benchmark.guest import measure
from experiments.engines.kernel_cache import Kernel


def test_forwarding_loses_nothing_and_counts_flows(kernel: Kernel) -> None:
    found = measure("forwarding", 256, counts=[1, 300])
    assert found["sent"] == found["arrived"] > 10_000
    assert set(found["counts"]) == {"1", "300"}
    for one in found["counts"].values():
        assert 0 < one["move_ms"] <= one["move_p99_ms"]
        assert one["one_flow"] > 1000
        assert one["all_flows"] > 1000
    assert found["counts"]["300"]["at_once"] == 300
    assert found["counts"]["300"]["kernel_octets"] > 0


def test_protected_messages_arrive(kernel: Kernel) -> None:
    found = measure("protection", 128)
    for one in found.values():
        assert one["sent"] == one["arrived"] > 10_000
        assert one["packets"] > 1000
    for size, took in found["none"]["message_us"].items():
        assert 0 < took < found["esp"]["message_us"][size]
