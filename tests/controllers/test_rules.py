from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from controllers.fabric import Fabric, FabricError
from controllers.openflow import Output, SetField
from controllers.rules import (
    FLOWS,
    Cookie,
    CookieKind,
    base_rules,
    flow_priority,
    flow_rules,
    prefix_key,
    prefix_rules,
    redirect_rules,
)
from controllers.selector_matches import Inexpressible
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCache, FlowMobilityCacheEntry
from nodes.northbound import Flow, FlowPath, PrefixPath
from nodes.packet_fields import WITH_PORTS
from nodes.selectors import selector_fields
from nodes.wire.traffic_selector import PacketFields
from tests.controllers.fabrics import (
    HOME,
    LMA,
    MAG1,
    MAG2,
    MAG3,
    OTHER_HOME,
    description,
    descriptions,
    reference_fabric,
)
from tests.controllers.selections import CN, address_in, packets_near, seen_by_switches, selectors
from tests.controllers.switch_model import FABRIC_MAC, Network, Packet

MOBILITY_HEADER, IPV6_IN_IPV6 = 135, 41


def flow(key=65536, priority=10, selector=None, action="forward", prefixes=(HOME,)):
    return Flow(
        key=key,
        mn="mn1",
        fid=1,
        priority=priority,
        selector=selector or {"start_next_header": 17},
        prefixes=prefixes,
        action=action,
        label=key & 0xFFFFF,
    )


def path(*mags, key=65536, anchor=None):
    return FlowPath(key=key, mags=mags, anchor=anchor)


def to_home(protocol=17, destination=HOME[9], source=CN, label=0):
    ports = (5000, 5001) if protocol in (6, 17) else (None, None)
    return Packet(PacketFields(source, destination, protocol, *ports, flow_label=label))


def tunnelled(destination, label, protocol=IPV6_IN_IPV6):
    return to_home(protocol, destination, LMA, label)


def arrivals(network, node, packet):
    return sorted(name for name, _ in network.send(node, packet))


def reference_network():
    fabric = reference_fabric()
    network = Network(description())
    network.add(base_rules(fabric))
    return fabric, network


@given(st.sampled_from(CookieKind), st.integers(0, 0xFFFF_FFFF))
def test_cookies_are_decoded_as_encoded(kind, key):
    cookie = Cookie(kind, key)
    assert 0 <= cookie.encode() < 1 << 64
    assert Cookie.decode(cookie.encode()) == cookie


@pytest.mark.parametrize("other", [0, 1 << 48, 0xF10B << 48, 0xF10B << 48 | 4 << 32, (1 << 64) - 1])
def test_cookies_of_others_are_not_ours(other):
    assert Cookie.decode(other) is None


def test_key_of_a_prefix_is_the_same_in_each_run():
    assert prefix_key(HOME) == 0x323D3C4B
    assert prefix_key(IPv6Network("2001:db8:a::/63")) != prefix_key(HOME)


def test_lower_fid_pri_takes_precedence():
    """RFC 6089 section 4.2; all values fit above the table-miss entry."""
    assert flow_priority(1) == 0xFFFF
    assert flow_priority(0xFFFF) == 1


@given(descriptions())
def test_base_rules_bring_every_packet_to_its_node(given_description):
    network = Network(given_description)
    network.add(base_rules(Fabric(given_description)))
    nodes = (given_description.lma, *given_description.mags)
    for sender in nodes:
        for receiver in nodes:
            for address in receiver.addresses:
                packet = to_home(MOBILITY_HEADER, address, sender.addresses[0])
                found = network.send(sender.name, packet)
                if sender is receiver:
                    assert found == []  # it wouldn't have left the node
                    continue
                ((name, arrived),) = found
                assert (name, arrived.eth_dst) == (receiver.name, receiver.mac)
                assert arrived.fields == packet.fields


@given(descriptions(), st.sampled_from((CN, HOME[1], IPv6Address("2001:db8:ffff::1"))))
def test_base_rules_bring_everything_else_to_the_lma(given_description, destination):
    network = Network(given_description)
    network.add(base_rules(Fabric(given_description)))
    for mag in given_description.mags:
        ((name, arrived),) = network.send(mag.name, to_home(destination=destination))
        assert (name, arrived.eth_dst) == ("lma", given_description.lma.mac)
    assert network.send("lma", to_home(destination=destination)) == []


@pytest.mark.parametrize("destination", ["ff02::1", "ff02::16", "fe80::1", "ff05::2"])
def test_what_is_local_to_a_link_stays_there(destination):
    _, network = reference_network()
    for name in ("lma", "mag1", "mag2"):
        assert network.send(name, to_home(58, IPv6Address(destination))) == []


def test_other_ethernet_types_pass_nowhere():
    _, network = reference_network()
    packet = Packet(to_home(destination=MAG1).fields, eth_type=0x0800)
    assert network.send("lma", packet) == []


def test_default_path_takes_a_prefix_to_its_mag():
    fabric, network = reference_network()
    network.add(prefix_rules(fabric, PrefixPath(prefix=HOME, mag=MAG2)))
    ((name, arrived),) = network.send("lma", to_home())
    assert (name, arrived.eth_dst) == ("mag2", fabric.mag(MAG2).mac)
    assert arrivals(network, "lma", to_home(destination=OTHER_HOME[1])) == []


def test_longer_prefix_goes_first():
    fabric, network = reference_network()
    wide = IPv6Network("2001:db8:a::/48")
    network.add(prefix_rules(fabric, PrefixPath(prefix=wide, mag=MAG2)))
    network.add(prefix_rules(fabric, PrefixPath(prefix=HOME, mag=MAG1)))
    assert arrivals(network, "lma", to_home()) == ["mag1"]
    assert arrivals(network, "lma", to_home(destination=OTHER_HOME[1])) == ["mag2"]


def test_no_prefix_takes_the_place_of_a_base_rule():
    fabric = reference_fabric()
    rules = prefix_rules(fabric, PrefixPath(prefix=IPv6Network("::/0"), mag=MAG1))
    base = {rule.identity for rule in base_rules(fabric)["s1"]}
    assert rules["s1"][0].identity not in base
    assert rules["s1"][0].priority == 1


def test_blocked_prefix_ends_at_the_ingress():
    """RFC 5213 section 5.3.5: packets are dropped while a deregistration waits."""
    fabric, network = reference_network()
    rules = prefix_rules(fabric, PrefixPath(prefix=HOME))
    assert list(rules) == ["s1"]
    network.add(rules)
    assert network.send("lma", to_home()) == []


def test_packets_from_a_mag_pass_the_lma_first():
    """Only there it's known to which flow they belong; a switch on the way may have another path
    of the same destination (RFC 5213 section 5.6.2: the LMA is where they are forwarded)."""
    fabric, network = reference_network()
    network.add(prefix_rules(fabric, PrefixPath(prefix=HOME, mag=MAG1)))
    network.add(flow_rules(fabric, flow(), (MAG2,)))
    for mag in ("mag1", "mag2", "mag3"):
        assert arrivals(network, mag, to_home()) == ["lma"]


def test_rules_of_a_flow_are_on_its_path_only():
    fabric = reference_fabric()
    found = flow_rules(fabric, flow(), (MAG2,))
    assert list(found) == ["s1", "s2", "s4"]
    (rule,) = found["s4"]
    assert (rule.table, rule.priority) == (FLOWS, 0x10000 - 10)
    assert rule.actions == (SetField("eth_dst", fabric.mag(MAG2).mac), Output(2))
    assert Cookie.decode(rule.cookie) == Cookie(CookieKind.FLOW, 65536)


def test_flow_without_a_mag_has_no_effect():
    """RFC 7864 section 5.2: an inactive row doesn't affect traffic."""
    fabric = reference_fabric()
    assert flow_rules(fabric, flow(), ()) == {}
    assert flow_rules(fabric, flow(action="drop"), ()) == {}


def test_signalling_is_never_matched_by_a_flow():
    fabric, network = reference_network()
    network.add(prefix_rules(fabric, PrefixPath(prefix=HOME, mag=MAG1)))
    network.add(flow_rules(fabric, flow(selector={"start_source_address": str(CN)}), (MAG2,)))
    assert arrivals(network, "lma", to_home()) == ["mag2"]
    assert arrivals(network, "lma", to_home(MOBILITY_HEADER)) == ["mag1"]


def test_unknown_mags_are_refused():
    fabric = reference_fabric()
    for address in (LMA, CN):
        with pytest.raises(FabricError):
            flow_rules(fabric, flow(), (address,))
        with pytest.raises(FabricError):
            prefix_rules(fabric, PrefixPath(prefix=HOME, mag=address))
        with pytest.raises(FabricError):
            redirect_rules(fabric, flow(), path(address, anchor=MAG1))


@given(descriptions(), st.data())
def test_copies_of_a_packet_reach_each_mag_of_its_flow_once(given_description, data):
    fabric = Fabric(given_description)
    network = Network(given_description)
    network.add(base_rules(fabric))
    mags = data.draw(st.lists(st.sampled_from(fabric.mags), unique_by=lambda mag: mag.name))
    network.add(flow_rules(fabric, flow(), [mag.addresses[0] for mag in mags]))
    found = network.send("lma", to_home())
    assert sorted((name, copy.eth_dst) for name, copy in found) == sorted(
        (mag.name, mag.mac) for mag in mags
    )
    assert all(copy.fields == to_home().fields for _, copy in found)


@st.composite
def caches(draw, mags):
    """A flow mobility cache of two mobile nodes with a prefix each, and the MAGs of each flow."""
    cache, flows, key = FlowMobilityCache(), [], 65536
    for mn, prefix in (("mn1", HOME), ("mn2", OTHER_HOME)):
        count = draw(st.integers(1, 4))
        priorities = draw(
            st.lists(
                st.sampled_from((1, 2, 10, 500, 65534, 65535)) | st.integers(1, 65535),
                min_size=count,
                max_size=count,
                unique=True,
            )
        )
        for fid, priority in enumerate(priorities, 1):
            selector = draw(selectors(address_in(prefix), most=2))
            action = draw(st.sampled_from(("forward", "forward", "forward", "drop")))
            chosen = draw(
                st.lists(st.sampled_from(mags), max_size=2, unique_by=lambda mag: mag.name)
            )
            cache.add(
                mn,
                FlowMobilityCacheEntry(
                    priority, fid, selector, (1,), FlowAction(action), active=bool(chosen)
                ),
            )
            known = Flow(
                key=key,
                mn=mn,
                fid=fid,
                priority=priority,
                selector=selector_fields(selector),
                prefixes=(prefix,),
                action=action,
                label=key & 0xFFFFF,
            )
            flows.append((known, tuple(chosen)))
            key += 1
    return cache, flows


@given(descriptions(), st.data())
def test_flows_are_steered_as_the_flow_mobility_cache_matches(given_description, data):
    """Selectors, FID-PRI, actions and default paths together, against the LMA's own match."""
    fabric = Fabric(given_description)
    network = Network(given_description)
    network.add(base_rules(fabric))
    cache, flows = data.draw(caches(fabric.mags))
    default = {HOME: fabric.mags[0], OTHER_HOME: fabric.mags[-1]}
    for prefix, mag in default.items():
        network.add(prefix_rules(fabric, PrefixPath(prefix=prefix, mag=mag.addresses[0])))
    for known, mags in flows:
        try:
            network.add(flow_rules(fabric, known, [mag.addresses[0] for mag in mags]))
        except Inexpressible:
            cache.remove(known.mn, known.fid)
    by_name = {(known.mn, known.fid): mags for known, mags in flows}
    rows = [row for _, row in cache.all_rows()]
    assume(rows)
    for _ in range(8):
        fields = data.draw(packets_near(data.draw(st.sampled_from(rows)).selector))
        if not any(fields.destination in prefix for _, prefix in MNS):
            fields = replace(fields, destination=data.draw(st.sampled_from(MNS))[1][1])
        mn = next(mn for mn, prefix in MNS if fields.destination in prefix)
        row = next(
            (
                row
                for row in cache.rows(mn)
                if row.active and seen_by_switches(row.selector, fields)
            ),
            None,
        )
        if fields.protocol == MOBILITY_HEADER:
            row = None
        if _seen_alike(fields):
            assert row == cache.match(mn, fields)
        expected = [default[dict(MNS)[mn]]]
        if row is not None:
            expected = by_name[mn, row.fid] if row.action is FlowAction.FORWARD else ()
        event("default" if row is None else row.action)
        found = network.send("lma", Packet(fields))
        assert sorted((name, copy.eth_dst) for name, copy in found) == sorted(
            (mag.name, mag.mac) for mag in expected
        )
        for mag in fabric.mags:
            assert arrivals(network, mag.name, Packet(fields)) == ["lma"]


@given(descriptions(), st.data())
def test_no_mixture_of_rules_sends_packets_in_a_circle(given_description, data):
    """Whatever has arrived at which switch in the middle of changes; no MAG gets two copies."""
    fabric = Fabric(given_description)
    network = Network(given_description)
    network.add(base_rules(fabric))
    mags = st.sampled_from([mag.addresses[0] for mag in fabric.mags])
    sets = st.lists(mags, unique=True)
    anchor = data.draw(mags)
    for switch in fabric.switches:
        states = (
            flow_rules(fabric, flow(), data.draw(sets)),
            prefix_rules(fabric, PrefixPath(prefix=HOME, mag=data.draw(mags))),
            redirect_rules(fabric, flow(65537), path(data.draw(mags), anchor=anchor)),
        )
        for rules in states:
            if data.draw(st.booleans()):
                network.add({switch: rules.get(switch, ())})
    for packet in (to_home(), to_home(58)):
        names = arrivals(network, "lma", packet)
        assert len(names) == len(set(names))
        assert "lma" not in names
        for mag in fabric.mags:
            assert arrivals(network, mag.name, packet) == ["lma"]
    assert len(arrivals(network, "lma", tunnelled(anchor, 65537))) == 1


MNS = (("mn1", HOME), ("mn2", OTHER_HOME))


def _seen_alike(fields):
    """Switches and the LMA see the same of all packets but these."""
    return fields.protocol not in (33, 136) and (
        fields.protocol not in WITH_PORTS or fields.source_port is not None
    )


def test_redirect_is_one_rule_where_the_paths_part():
    fabric = reference_fabric()
    found = redirect_rules(fabric, flow(), path(MAG2, anchor=MAG1))
    (rule,) = found["s2"]
    assert list(found) == ["s2"]
    assert rule.actions == (SetField("ipv6_dst", str(MAG2)), Output(3))
    assert rule.match.to_openflow() == {
        "eth_type": 0x86DD,
        "ip_proto": IPV6_IN_IPV6,
        "ipv6_dst": str(MAG1),
        "ipv6_flabel": 65536,
        "ipv6_src": str(LMA),
    }
    assert Cookie.decode(rule.cookie) == Cookie(CookieKind.FLOW, 65536)


def test_flow_at_its_anchor_is_not_redirected():
    fabric = reference_fabric()
    assert redirect_rules(fabric, flow(), path(MAG1, anchor=MAG1)) == {}
    assert redirect_rules(fabric, flow(), path(anchor=MAG1)) == {}
    assert redirect_rules(fabric, flow(), path(MAG1)) == {}
    assert redirect_rules(fabric, flow(action="drop"), path(MAG2, anchor=MAG1)) == {}


def test_redirect_between_mags_of_one_switch():
    fabric, network = reference_network()
    network.add(redirect_rules(fabric, flow(), path(MAG3, anchor=MAG2)))
    ((name, arrived),) = network.send("lma", tunnelled(MAG2, 65536))
    assert (name, arrived.eth_dst) == ("mag3", fabric.mag(MAG3).mac)
    assert arrived.fields.destination == MAG3


@given(descriptions(), st.data())
def test_redirect_takes_the_flows_tunnel_packets_and_no_others(given_description, data):
    fabric = Fabric(given_description)
    network = Network(given_description)
    network.add(base_rules(fabric))
    anchor = data.draw(st.sampled_from(fabric.mags))
    targets = data.draw(
        st.lists(st.sampled_from(fabric.mags), min_size=1, unique_by=lambda mag: mag.name)
    )
    addresses = [mag.addresses[0] for mag in targets]
    network.add(redirect_rules(fabric, flow(), path(*addresses, anchor=anchor.addresses[0])))
    found = network.send("lma", tunnelled(anchor.addresses[0], 65536))
    assert sorted((name, copy.eth_dst, copy.fields.destination) for name, copy in found) == sorted(
        (mag.name, mag.mac, mag.addresses[0]) for mag in targets
    )
    for mag in fabric.mags:
        address = mag.addresses[0]
        assert arrivals(network, "lma", tunnelled(address, 65537)) == [mag.name]
        assert arrivals(network, "lma", tunnelled(address, 65536, MOBILITY_HEADER)) == [mag.name]
        if mag is not anchor:
            assert arrivals(network, "lma", tunnelled(address, 65536)) == [mag.name]
            # A MAG that sends with this label to another isn't the LMA.
            packet = to_home(IPV6_IN_IPV6, anchor.addresses[0], address, 65536)
            assert arrivals(network, mag.name, packet) == [anchor.name]


def test_frames_leave_the_lma_for_the_fabric():
    """The model's default; the last switch puts the node's address."""
    assert to_home().eth_dst == FABRIC_MAC
