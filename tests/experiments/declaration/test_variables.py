"""The configuration variables of a run (RFC 5213 section 9)."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from experiments.declaration.spec import RunSpec
from experiments.emulation.roles import MN_ID, Roles, configure
from nodes.strict import InputError, convert, to_builtins
from tests.experiments.synthetic import run_spec


def configured(**tables: dict[str, Any]) -> Roles:
    document = {**to_builtins(run_spec("unique")), "variables": tables}
    spec = convert(document, RunSpec, "test.toml")
    return configure(spec, Path("/events"), Path("/control"), seed=7)


@pytest.mark.parametrize(
    ("table", "name", "default", "value"),
    [
        ("lma", "min_delay_before_bce_delete_ms", 10_000, 1),
        ("lma", "max_delay_before_new_bce_assign_ms", 1_500, 1),
        ("lma", "timestamp_validity_window_ms", 300, 1),
        ("mag", "enable_mag_local_routing", False, True),
        ("domain", "timestamp_based_approach_in_use", True, False),
        ("domain", "mobile_node_generated_timestamp_in_use", False, True),
        (
            "domain",
            "fixed_mag_link_local_address_on_all_access_links",
            IPv6Address("fe80::200:5eff:fe00:5213"),
            IPv6Address("::"),
        ),
        (
            "domain",
            "fixed_mag_link_layer_address_on_all_access_links",
            "00:00:5e:00:52:13",
            "02:00:00:00:ff:01",
        ),
    ],
)
def test_all_of_section_9_can_be_set_rfc5213_9_1_to_9_3(
    table: str, name: str, default: object, value: object
) -> None:
    plain, changed = configured(), configured(**{table: {name: to_builtins(value)}})
    for roles, expected in ((plain, default), (changed, value)):
        nodes = [roles.lma] if table == "lma" else list(roles.mags.values())
        if table == "domain":
            nodes = [roles.lma, *roles.mags.values()]
        assert {getattr(node, name) for node in nodes} == {expected}


def test_other_variables_of_the_nodes_can_be_set_as_well() -> None:
    router = {"max_rtr_adv_interval_s": 30, "min_delay_between_ras_ms": 50}
    roles = configured(
        lma={"revoke_on_handover": True},
        mag={"router": router, "update_notifications": False},
        mobile_node={"fallback": "refuse"},
    )
    assert roles.lma.revoke_on_handover
    assert roles.lma.mobile_nodes[MN_ID].fallback == "refuse"
    for mag in roles.mags.values():
        assert mag.router.max_rtr_adv_interval_s == 30
        assert not mag.update_notifications


def test_the_mobile_node_knows_the_mags_address_rfc5213_9_3() -> None:
    name = "fixed_mag_link_layer_address_on_all_access_links"
    assert configured().mns["mn"].mag_link_layer_address == "00:00:5e:00:52:13"
    assert (
        configured(domain={name: "02:00:00:00:ff:01"})
        .mns["mn"]
        .mag_link_layer_address.endswith("01")
    )
    assert configured(domain={name: ""}).mns["mn"].mag_link_layer_address == "00:00:5e:00:52:13"


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ({"lma": {"address": "2001:db8::1"}}, "variables.lma: 'address'; expected one of"),
        ({"lma": {"timestamp_based_approach_in_use": False}}, "variables.lma: 'timestamp_based"),
        ({"mobile_node": {"switch": "on-send"}}, "variables.mobile_node: 'switch'"),
        ({"mag": {"nonsense": 1}}, "variables.mag: 'nonsense'"),
        ({"lma": {"max_lifetime_s": 1}}, "max_lifetime_s is 1; expected `int` >= 4"),
        ({"mag": {"router": {"adv_cur_hop_limit": 256}}}, "router.adv_cur_hop_limit is 256"),
        (
            {"domain": {"fixed_mag_link_local_address_on_all_access_links": "2001:db8::1"}},
            "expected a link-local address",
        ),
    ],
)
def test_what_is_wrong_is_named(tables: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError) as caught:
        configured(**tables)
    assert named in str(caught.value)
    assert str(caught.value).startswith("test.toml: ")


def test_the_mn_is_a_host_with_variables_rfc4862_5_1() -> None:
    assert configured().mns["mn"].host.dup_addr_detect_transmits == 0
    roles = configured(host={"dup_addr_detect_transmits": 2, "optimistic": True})
    assert (roles.mns["mn"].host.dup_addr_detect_transmits, roles.mns["mn"].host.optimistic) == (
        2,
        True,
    )
    with pytest.raises(InputError, match="dup_addr_detect_transmits"):
        configured(host={"dup_addr_detect_transmits": -1})
