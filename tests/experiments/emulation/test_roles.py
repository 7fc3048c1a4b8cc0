from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from controllers.config import RedirectionConfig
from experiments.declaration.experiment import TOPOLOGIES
from experiments.declaration.spec import RunSpec
from experiments.emulation.roles import INTERFACE_ID, MN_ID, Roles, address_of, configure
from nodes.link_layer import parse_link_layer_id
from nodes.strict import InputError, convert, read_toml, to_builtins
from tests.experiments.synthetic import run_spec


def changed(spec: RunSpec, *path: str, value: Any) -> RunSpec:
    document = table = to_builtins(spec)
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    return convert(document, RunSpec, "test")


def configured(spec: RunSpec) -> Roles:
    return configure(spec, Path("/events"), Path("/control"), seed=7)


def protocol(**changes: Any) -> RunSpec:
    spec = run_spec("unique")
    for name, value in changes.items():
        spec = changed(spec, "protocol", name, value=value)
    return spec


def test_the_parts_know_each_other_rfc5213_4() -> None:
    lma, mags, mns, _ = configured(run_spec("unique"))
    mn = mns["mn"]
    assert lma.authorized_mags == tuple(mag.proxy_coa for mag in mags.values())
    assert {mag.lma for mag in mags.values()} == {lma.address}
    assert list(lma.mobile_nodes) == [MN_ID]
    assert mn.interface_id == INTERFACE_ID
    assert set(mn.access_interfaces) == {"mn-wlan", "mn-cell"}
    files = [str(config.events) for config in (lma, *mags.values(), mn)]
    assert files == [f"/events/{name}.jsonl" for name in ("lma", "mag1", "mag2", "mn")]
    assert {config.seed for config in (lma, *mags.values(), mn)} == {7}


def test_each_access_is_in_one_mags_policy_store_rfc5213_6_2() -> None:
    lma, mags, _, _ = configured(run_spec("unique"))
    profiles = [p for mag in mags.values() for p in mag.access_interfaces.values()]
    assert {profile.mn_id for profile in profiles} == {MN_ID}
    technologies = [profile.access_technology for profile in profiles]
    assert technologies == [access.technology for access in lma.accesses.values()]
    link_layers = {parse_link_layer_id(profile.link_layer_id) for profile in profiles}
    assert len(link_layers) == 2


@pytest.mark.parametrize(("model", "handoff"), [("shared", 6), ("unique", 1), ("hybrid", 1)])
def test_the_handoff_indicator_of_each_model_rfc7864_3_2_1(model: str, handoff: int) -> None:
    lma, mags, _, _ = configured(run_spec(model))
    profiles = [p for mag in mags.values() for p in mag.access_interfaces.values()]
    assert {profile.handoff_indicator for profile in profiles} == {handoff}
    assert lma.mobile_nodes[MN_ID].prefix_model == model


def test_what_the_protocol_says_reaches_the_lma_rfc7077_7() -> None:
    spec = protocol(
        switch="on-send",
        prefix_delivery="at-attach",
        notification_retransmit_delay_s=0.75,
        notification_retransmit_count=4,
    )
    lma = configured(spec).lma
    policy = lma.mobile_nodes[MN_ID]
    assert (policy.switch, policy.prefix_delivery) == ("on-send", "at-attach")
    assert lma.min_delay_between_update_notification_replay_ms == 750
    assert lma.max_update_notification_retransmit_count == 4


def test_a_static_uplink_maps_ports_rfc7864_6() -> None:
    spec = run_spec("unique")
    assert configured(spec).mns["mn"].static_policy == {}
    mn = configured(protocol(uplink="static")).mns["mn"]
    assert mn.static_policy == {str(flow.port): f"mn-{flow.start}" for flow in spec.flows.values()}


def test_an_address_that_is_missing_is_named() -> None:
    spec = changed(run_spec("unique"), "topology", "nodes", "mag1", "address", value=None)
    with pytest.raises(ValueError, match=r"nodes\.mag1\.address: missing; a mag has one"):
        configured(spec)
    assert address_of(spec, "lma") == IPv6Address("2001:db8:10::1")


def test_an_access_of_no_known_technology_is_named() -> None:
    document = to_builtins(run_spec("unique"))
    document["topology"]["links"]["wlan"]["access"] = "laser"
    document["flows"], document["moves"] = {}, []
    document["attachments"] = []
    spec = convert(document, RunSpec, "test")
    with pytest.raises(ValueError, match="access is 'laser'; expected one of wlan, cell"):
        configured(spec)


def on_switches(**changes: Any) -> RunSpec:
    document = to_builtins(run_spec("unique")) | {"topology": read_toml(TOPOLOGIES / "sdn.toml")}
    document["protocol"] |= changes
    return convert(document, RunSpec, "test")


def test_on_switches_without_redirection_the_controller_is_told_of_no_lma() -> None:
    lma, mags, _, controller = configured(on_switches())
    assert (lma.data_plane, lma.controller, lma.fabric_interface) == ("tunnel", None, None)
    assert {mag.data_plane for mag in mags.values()} == {"tunnel"}
    assert controller is not None
    assert controller.application == "controllers.application:RedirectionApplication"
    config = convert(controller.arguments["config"], RedirectionConfig, "test")
    assert config.fabric.switches == ("s1", "s2", "s3", "s4")
    assert config.datapath_ids == {"s1": 1, "s2": 2, "s3": 3, "s4": 4}
    assert config.events == Path("/events/controller.jsonl")
    assert configured(run_spec("unique")).controller is None


def test_natively_lma_and_mags_know_their_switches() -> None:
    spec = on_switches(data_plane="sdn-core", framework="ryu", fallback="tunnel")
    lma, mags, _, controller = configured(spec)
    assert (lma.data_plane, lma.fabric_interface) == ("sdn-core", "lma-s1")
    assert lma.controller is not None
    assert lma.controller.address == IPv6Address("2001:db8:20::2")
    assert lma.controller.fallback == "tunnel"
    assert {(mag.data_plane, mag.fallback) for mag in mags.values()} == {("native", "tunnel")}
    assert [mag.fabric_interface for mag in mags.values()] == ["mag1-s3", "mag2-s4"]
    assert controller is not None
    assert controller.framework == "ryu"
    config = convert(controller.arguments["config"], RedirectionConfig, "test")
    assert config.timers.request_timeout_ms == lma.controller.request_timeout_ms
    assert config.lma_addresses == (IPv6Address("2001:db8:20::1"), IPv6Address("::1"))


def test_redirected_tunnels_need_nothing_of_the_mags() -> None:
    lma, mags, _, _ = configured(on_switches(data_plane="sdn-assisted"))
    assert (lma.data_plane, lma.fabric_interface) == ("sdn-assisted", None)
    assert lma.controller is not None
    assert {(mag.data_plane, mag.fabric_interface) for mag in mags.values()} == {("tunnel", None)}


def test_redirection_needs_switches_and_a_link_to_the_controller() -> None:
    with pytest.raises(InputError, match=r'"sdn-core"; the topology has 0 switches and 0 contr'):
        protocol(data_plane="sdn-core")
    spec = on_switches(data_plane="sdn-core")
    links = {name: x for name, x in spec.topology.links.items() if name != "lma-controller"}
    spec = replace(spec, topology=replace(spec.topology, links=links))
    with pytest.raises(ValueError, match="none between controller and lma; expected one"):
        configured(spec)
    links = {name: x for name, x in spec.topology.links.items() if name != "s4-mag2"}
    with pytest.raises(ValueError, match=r'"sdn-core"; mag2 is at no switch'):
        replace(spec, topology=replace(spec.topology, links=links))


def test_natively_nobody_sees_what_the_mn_decides() -> None:
    with pytest.raises(InputError, match=r'"sdn-core"; protocol\.decision_maker: "mn"'):
        on_switches(data_plane="sdn-core", decision_maker="mn", prefix_delivery="at-attach")
    on_switches(data_plane="sdn-assisted", decision_maker="mn", prefix_delivery="at-attach")


def test_capacities_of_a_policy_need_switches_that_count_all_flows() -> None:
    balance = {"kind": "load-balance", "capacities": {"wlan": 20_000}}
    for mode in ("sdn-assisted", "tunnel"):
        with pytest.raises(InputError, match=r'capacities is .* data_plane "sdn-core"'):
            on_switches(data_plane=mode, policies=[balance])
    on_switches(data_plane="sdn-core", policies=[balance])


def test_each_of_several_mobile_nodes_has_its_identifier_and_its_accesses_rfc5213_6_2() -> None:
    spec = changed(run_spec("unique"), "topology", "nodes", "mn", "count", value=3)
    lma, mags, mns, _ = configured(spec)
    identifiers = [f"mn{number}@flowmob.example" for number in (1, 2, 3)]
    assert list(lma.mobile_nodes) == identifiers
    assert [mn.mn_id for mn in mns.values()] == identifiers
    assert mns["mn2"].access_interfaces == ("mn2-wlan2", "mn2-cell2")
    assert len({mn.control_socket for mn in mns.values()}) == 3
    at_mag1 = mags["mag1"].access_interfaces
    assert {name: profile.mn_id for name, profile in at_mag1.items()} == dict(
        zip(["mag1-wlan", "mag1-wlan2", "mag1-wlan3"], identifiers, strict=True)
    )
    link_layers = {p.link_layer_id for mag in mags.values() for p in mag.access_interfaces.values()}
    assert len(link_layers) == 6
