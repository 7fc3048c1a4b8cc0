"""The benchmarks of a guest, small: that they measure what they say. Rates are for `make bench`."""

from __future__ import annotations

import pytest

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


def test_signalling_is_answered(kernel: Kernel) -> None:
    found = measure("signalling", 256, mns=200, moving=50, requests=200)
    for what in ("registrations", "renewals", "requests", "flows", "moves", "local_moves"):
        assert found[what]["rate"] > 10, what
    assert found["binding_octets"] > 0


@pytest.mark.parametrize("most_waiting", [8_192, 50])
def test_after_a_storm_all_is_as_the_mobile_nodes_wished(kernel: Kernel, most_waiting: int) -> None:
    """However many messages may wait: who is dropped asks again (RFC 5213 section 6.9.4)."""
    found = measure("storm", 256, mns=600, most_waiting=most_waiting)
    for course in (found["attach"], found["churn"]):
        assert course["answered_twice"] == 0
        assert set(course["statuses"]) == {"0"}
    assert found["wrong"] == found["wrong_routes"] == 0
    assert found["churn"]["wrong"] == found["churn"]["wrong_routes"] == 0
    if most_waiting == 50:
        assert found["dropped"] > 0
