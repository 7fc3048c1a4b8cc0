"""What this machine's own kernel tells. Tunnels, and what a node makes, are in
tests/system/test_restarts.py."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network
from socket import socket

import pytest

from nodes.kernel import netlink_dump
from nodes.kernel.netlink import RT_TABLE_LOCAL, RT_TABLE_MAIN, RuleMatch, open_channel
from nodes.kernel.netlink_dump import Rule


@pytest.fixture
def channel() -> Iterator[socket]:
    with open_channel() as opened:
        yield opened


def test_the_rules_that_every_kernel_begins_with(channel: socket) -> None:
    rules = list(netlink_dump.rules(channel))
    assert Rule(0, RuleMatch(), RT_TABLE_LOCAL) in rules
    assert Rule(32766, RuleMatch(), RT_TABLE_MAIN) in rules


def test_the_loopback_address_is_in_the_local_table(channel: socket) -> None:
    found = [route for route in netlink_dump.routes(channel) if route.table == RT_TABLE_LOCAL]
    assert IPv6Network("::1/128") in {route.destination for route in found}


def test_links_that_are_no_tunnels_are_none(channel: socket) -> None:
    assert "lo" not in netlink_dump.tunnels(channel)
