"""Counts of flows at switches, and their rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.lma.flow_statistics import FlowStatistics
from nodes.northbound import FlowCount, Statistics

if TYPE_CHECKING:
    from tests.domain import Domain


def count(domain: type[Domain], octets: int, mag: int = 1, key: int = 1) -> FlowCount:
    mags = (domain.MAG1 if mag == 1 else domain.MAG2,)
    return FlowCount(key=key, mags=mags, packets=octets // 100, octets=octets)


def test_rates_are_of_the_time_between_two_reports(domain: type[Domain]) -> None:
    statistics = FlowStatistics()
    statistics.update(Statistics(flows=(count(domain, 1_000),)), domain.at(10))
    assert statistics.octets_per_s(1) is None
    statistics.update(Statistics(flows=(count(domain, 3_000),)), domain.at(12))
    assert statistics.octets_per_s(1) == 1_000
    assert statistics.counts(1) == (count(domain, 3_000),)


def test_a_new_rule_counts_from_zero_and_the_old_one_goes_on(domain: type[Domain]) -> None:
    statistics = FlowStatistics()
    statistics.update(Statistics(flows=(count(domain, 1_000),)), domain.at(0))
    both = (count(domain, 1_200), count(domain, 300, mag=2))
    statistics.update(Statistics(flows=both), domain.at(1))
    assert statistics.octets_per_s(1) == 500
    statistics.update(Statistics(flows=(count(domain, 100, mag=2),)), domain.at(2))
    assert statistics.octets_per_s(1) == 100  # the switch has been started anew


def test_a_flow_that_is_not_reported_any_more_has_no_rate(domain: type[Domain]) -> None:
    statistics = FlowStatistics()
    statistics.update(Statistics(flows=(count(domain, 1_000),)), domain.at(0))
    statistics.update(Statistics(flows=()), domain.at(1))
    assert statistics.octets_per_s(1) is None
    assert statistics.counts(1) == ()
