"""What the path manager of Multipath TCP is told."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Any

import pytest

from experiments.declaration.access_events import instant_s
from experiments.emulation.mptcp_traffic import PathOrders as Orders
from experiments.emulation.mptcp_traffic import (
    correspondent_paths,
    manage_paths,
    mobile_paths,
    reconnections,
)
from experiments.emulation.traffic import tcp_transfers
from tests.experiments.synthetic import run_spec

ADDRESSES = {"wlan": IPv6Address("2001:db8:100::1"), "cell": IPv6Address("2001:db8:100:1::1")}
DOWNLOAD = {"kind": "mptcp", "anchor": "wlan", "start": "wlan", "port": 5010}


def orders(do: str, access: str, **flow: Any) -> Orders:
    events = {"x": {"at_s": 8.0, "do": do, "access": access}}
    spec = run_spec(flows={"d": DOWNLOAD | flow}, moves=[], events=events)
    return mobile_paths(spec, 3, ADDRESSES)


def test_the_other_access_is_backup_unless_all_are_used_rfc8684_3_2() -> None:
    first = orders("prefer", "cell").first
    assert first[1:] == (
        "mptcp endpoint add 2001:db8:100::1 id 1 subflow",
        "mptcp endpoint add 2001:db8:100:1::1 id 2 subflow backup",
    )
    assert "backup" not in " ".join(orders("prefer", "cell", subflows="all").first)


def test_the_new_way_is_preferred_before_the_old_one_is_backup_rfc8684_3_3_8() -> None:
    ((at_s, lines),) = orders("prefer", "cell").later
    assert at_s == instant_s(8.0, 20.0, 3)
    assert lines == (
        "mptcp endpoint change id 2 nobackup",
        "mptcp endpoint change id 1 backup",
    )


def test_an_address_is_given_up_rfc8684_3_4_2() -> None:
    ((_, lines),) = orders("abandon", "wlan").later
    assert lines == ("mptcp endpoint delete id 1",)


def test_the_correspondent_has_limits_and_no_addresses() -> None:
    spec = run_spec(flows={"d": DOWNLOAD}, moves=[])
    assert correspondent_paths(spec) == Orders(("mptcp limits set subflows 2 add_addr_accepted 0",))


def test_orders_are_given_in_order_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr("experiments.emulation.mptcp_traffic._carry_out", told.append)
    monkeypatch.setattr("experiments.emulation.mptcp_traffic.sleep_until", told.append)
    manage_paths(Orders(("a",), ((8.5, ("b",)),)), 1_000)
    assert told == [("a",), 8_500_001_000, ("b",)]


def test_a_download_goes_on_from_the_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    here = IPv6Address("2001:db8:1::2")
    monkeypatch.setattr("experiments.emulation.traffic.correspondent_address", lambda _spec: here)
    download = DOWNLOAD | {"kind": "tcp"}
    event = {"at_s": 8.0, "do": "reconnect", "access": "cell", "flow": "d"}
    spec = run_spec(flows={"d": download}, moves=[], events={"x": event})
    later = reconnections(spec, 3, ADDRESSES)
    assert later == {"d": (instant_s(8.0, 20.0, 3), ADDRESSES["cell"])}
    (transfer,) = tcp_transfers(spec, {"d": ADDRESSES["wlan"]}, later)
    assert transfer.reconnection == later["d"]
    assert not transfer.multipath
