"""Variables of RFC 5213 section 9 and others that a run's description sets, as the wire shows."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guests import carry_out_check, make_job, put_job

LINK_LOCAL, LINK_LAYER = "fe80::5213:1", "02:00:00:00:ff:01"
SOURCE_LINK_LAYER_ADDRESS = 1


def carry_out(
    kernel: Kernel, folder: Path, **variables: dict[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the course says of a flow that moves to the cell, and the cell's signalling."""
    put_job(folder, make_job({"variables": variables}))
    result = carry_out_check(kernel, folder, "forwarding_checks.advertisements")
    return result, list(decode_capture(folder / "wire" / "core-mag2.pcapng"))


def advertisements(folder: Path, access: str) -> list[wire.Datagram]:
    found = [
        datagram
        for datagram in wire.at(
            wire.read(folder / "wire" / f"mn-{access}.pcapng"), f"mn-{access}", outbound=False
        )
        if datagram.next_header == wire.ICMPV6 and datagram.payload[0] == wire.ROUTER_ADVERTISEMENT
    ]
    assert found
    return found


def options(message: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [option for option in message["options"] if option["option"] == name]


def named(messages: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["message"] == name]


def test_the_fixed_addresses_of_the_domain_rfc5213_9_3(kernel: Kernel, tmp_path: Path) -> None:
    result, _ = carry_out(
        kernel,
        tmp_path,
        domain={
            "fixed_mag_link_local_address_on_all_access_links": LINK_LOCAL,
            "fixed_mag_link_layer_address_on_all_access_links": LINK_LAYER,
        },
    )
    assert result["answers"][0]["ok"] is True
    for access in ("wlan", "cell"):
        for datagram in advertisements(tmp_path, access):
            assert datagram.source == IPv6Address(LINK_LOCAL)
            assert datagram.link_source.hex(":") == LINK_LAYER
            assert bytes([SOURCE_LINK_LAYER_ADDRESS, 1, *datagram.link_source]) in datagram.payload


def test_without_a_fixed_address_the_lma_makes_one_rfc5213_9_3_and_5_3_6(
    kernel: Kernel, tmp_path: Path
) -> None:
    result, messages = carry_out(
        kernel, tmp_path, domain={"fixed_mag_link_local_address_on_all_access_links": "::"}
    )
    assert result["answers"][0]["ok"] is True
    asked = options(named(messages, "ProxyBindingUpdate")[0], "LinkLocalAddress")
    assert [option["address"] for option in asked] == ["::"]
    (made,) = options(named(messages, "ProxyBindingAcknowledgement")[0], "LinkLocalAddress")
    assert made["address"] not in ("::", "fe80::200:5eff:fe00:5213")
    for datagram in advertisements(tmp_path, "cell"):
        assert datagram.source == IPv6Address(made["address"])


def test_sequence_numbers_in_place_of_timestamps_rfc5213_9_3(
    kernel: Kernel, tmp_path: Path
) -> None:
    result, messages = carry_out(
        kernel,
        tmp_path,
        domain={"timestamp_based_approach_in_use": False},
        mag={"lifetime_s": 4},
    )
    assert result["answers"][0]["ok"] is True
    updates = named(messages, "ProxyBindingUpdate")
    assert len(updates) >= 2
    sequences = [message["sequence"] for message in updates]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    for message in (*updates, *named(messages, "ProxyBindingAcknowledgement")):
        assert options(message, "Timestamp") == []
    accepted = named(messages, "ProxyBindingAcknowledgement")
    assert {message["status"]["value"] for message in accepted} == {0}


@pytest.mark.parametrize("fallback", ["registration", "refuse"])
def test_a_mag_without_update_notifications_rfc7077_5_2_rfc7864_3_3(
    kernel: Kernel, tmp_path: Path, fallback: str
) -> None:
    """The PBA of its next registration conveys what the FMI would have."""
    result, messages = carry_out(
        kernel,
        tmp_path,
        mag={"update_notifications": False, "lifetime_s": 4},
        mobile_node={"fallback": fallback},
    )
    (notification,) = named(messages, "UpdateNotification")
    (error,) = named(messages, "BindingError")
    assert error["status"]["value"] == 2
    off_link = [
        [option["off_link"] for option in options(message, "HomeNetworkPrefix")]
        for message in named(messages, "ProxyBindingAcknowledgement")
    ]
    assert off_link[0] == [False]
    home, cell = result["bindings"]
    if fallback == "refuse":
        assert "doesn't support" in result["answers"][0]["error"]
        assert [True in bits for bits in off_link] == [False] * len(off_link)
        return
    assert result["answers"][0]["ok"] is True
    assert off_link[1] == [False, True]
    assert cell["flow_mobility_prefixes"] == home["prefixes"]
    order = [messages.index(message) for message in (notification, error)]
    order.append(messages.index(named(messages, "ProxyBindingAcknowledgement")[1]))
    assert order == sorted(order)
