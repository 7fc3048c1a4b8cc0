from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Any

import pytest

from nodes.config import LmaConfig, MobileNodePolicy
from nodes.strict import InputError, convert, to_builtins

if TYPE_CHECKING:
    from tests.domain import Domain


def lma(domain: type[Domain], **changes: Any) -> LmaConfig:
    document = {**to_builtins(domain.lma_config()), **changes}
    return convert(document, LmaConfig, "lma.toml")


def test_defaults_of_the_lma_rfc5213_9_1(domain: type[Domain]) -> None:
    config = domain.lma_config()
    assert config.min_delay_before_bce_delete_ms == 10_000
    assert config.max_delay_before_new_bce_assign_ms == 1_500
    assert config.timestamp_validity_window_ms == 300


def test_defaults_of_the_domain_rfc5213_9_3_rfc6543(domain: type[Domain]) -> None:
    for config in (domain.lma_config(), domain.mag().core.config):
        assert config.timestamp_based_approach_in_use
        assert not config.mobile_node_generated_timestamp_in_use
        address = config.fixed_mag_link_local_address_on_all_access_links
        assert address == IPv6Address("fe80::200:5eff:fe00:5213")
        address = config.fixed_mag_link_layer_address_on_all_access_links
        assert address == "00:00:5e:00:52:13"


def test_local_routing_is_off_unless_configured_rfc5213_9_2(domain: type[Domain]) -> None:
    assert not domain.mag().core.config.enable_mag_local_routing
    assert domain.mag(enable_mag_local_routing=True).core.config.enable_mag_local_routing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_delay_before_bce_delete_ms", 20_000),
        ("max_delay_before_new_bce_assign_ms", 0),
        ("timestamp_validity_window_ms", 1),
        ("timestamp_based_approach_in_use", False),
        ("mobile_node_generated_timestamp_in_use", True),
        ("fixed_mag_link_local_address_on_all_access_links", "::"),
        ("fixed_mag_link_layer_address_on_all_access_links", ""),
    ],
)
def test_variables_can_be_set_rfc5213_9_1_and_9_3(
    domain: type[Domain], name: str, value: Any
) -> None:
    assert to_builtins(getattr(lma(domain, **{name: value}), name)) == value


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {
                "timestamp_based_approach_in_use": False,
                "mobile_node_generated_timestamp_in_use": True,
            },
            "mobile_node_generated_timestamp_in_use is true",
        ),
        (
            {"fixed_mag_link_local_address_on_all_access_links": "2001:db8::1"},
            "fixed_mag_link_local_address_on_all_access_links is 2001:db8::1",
        ),
        ({"fixed_mag_link_layer_address_on_all_access_links": "zz"}, "hexadecimal"),
        ({"prefix_pool": "2001:db8:100::/65"}, "prefix_pool is 2001:db8:100::/65"),
        ({"mobile_nodes": {"mn": {"prefixes": ["2001:db8:100::/60"]}}}, "2001:db8:100::/60"),
        ({"mobile_nodes": {"mn": {"mags": ["2001:db8::5"]}}}, "authorized_mags"),
        (
            {"egress_addresses": [{"address": "2001:db8::6", "proxy_coa": "2001:db8::5"}]},
            "egress_addresses has proxy_coa 2001:db8::5; expected one of authorized_mags",
        ),
        (
            {
                "egress_addresses": [
                    {"address": "2001:db8:12::1", "proxy_coa": "2001:db8:11::1"},
                ]
            },
            "egress_addresses has address 2001:db8:12::1, which is in authorized_mags",
        ),
        ({"mobile_nodes": {"mn": {"prefixes_per_session": 0}}}, "prefixes_per_session"),
        ({"min_delay_before_bce_delete_ms": -1}, "min_delay_before_bce_delete_ms"),
    ],
)
def test_values_that_make_no_sense_are_refused(
    domain: type[Domain], changes: dict[str, Any], named: str
) -> None:
    """The first is RFC 5213 section 9.3: MUST NOT be set without the timestamp-based approach."""
    with pytest.raises(InputError, match=named):
        lma(domain, **changes)


def test_a_pool_of_one_prefix_is_a_pool(domain: type[Domain]) -> None:
    assert lma(domain, prefix_pool="2001:db8:100::/64").prefix_pool == IPv6Network(
        "2001:db8:100::/64"
    )


def test_a_node_may_be_restricted_to_some_mags_rfc5213_4(domain: type[Domain]) -> None:
    policy = MobileNodePolicy(mags=(domain.MAG1,))
    assert lma(domain, mobile_nodes={"mn": to_builtins(policy)}).mobile_nodes["mn"] == policy
