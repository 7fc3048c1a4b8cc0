"""RFC 7864, all sections: one test a rule, named after it."""

from __future__ import annotations

import math
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nodes.actions import Advertise, AssignAddress, Send, SteerUplink
from nodes.config import MnConfig, MobileNodePolicy
from nodes.flow_mobility_cache import FlowAction, FlowMobilityCacheEntry
from nodes.mn.flow_table import FlowTableEntry
from nodes.mn.mobile_node import MobileNode
from nodes.neighbour_discovery import PrefixInformation, RouterAdvertisement
from nodes.wire.flow_options import BindingReference, FlowIdentification
from nodes.wire.messages import (
    HandoffHint,
    Message,
    ProxyBindingAcknowledgement,
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationReason,
)
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields

if TYPE_CHECKING:
    from tests.domain import Anchor, Domain, Gateway, Network

CN = IPv6Address("2001:db8:1::2")
ROUTER = IPv6Address("fe80::200:5eff:fe00:5213")
SHARING = HandoffHint.NEW_INTERFACE_SHARING_PREFIXES
UDP = 17


def packet(domain: type[Domain], prefix: IPv6Network | None = None) -> PacketFields:
    """An uplink packet of the MN."""
    return PacketFields((prefix or domain.P1)[1], CN, UDP, 5001, 5001)


def mobile_node(uplink: str = "own") -> MobileNode:
    return MobileNode(
        MnConfig(
            events=Path("/dev/null"),
            logical_interface="lif0",
            access_interfaces=("mn-wlan", "mn-cell"),
            interface_id=1,
            uplink=uplink,  # type: ignore[arg-type]
        )
    )


def messages(network: Network, kind: type[Message]) -> list[tuple[str, Message]]:
    """Destination and message, of those sent since the last look."""
    return [(sent.destination, sent.message) for sent in network.sent if type(sent.message) is kind]


def sharing(domain: type[Domain], **changes: object) -> tuple[Anchor, ProxyBindingAcknowledgement]:
    """An LMA with a session at MAG 1 that holds P1, and its answer to a PBU of MAG 2 with P1 and
    handoff indicator 6; `changes` are those of that PBU."""
    anchor = domain.lma()
    first = anchor.acknowledged(domain.pbu())
    assert domain.prefixes(first) == [domain.P1]
    values: dict[str, object] = {
        "prefixes": (domain.P1,),
        "handoff": SHARING,
        "technology": domain.CELL,
        "link_layer": domain.LINK_LAYER_2,
    }
    request = domain.pbu(1.0, **{**values, **changes})  # type: ignore[arg-type]
    return anchor, anchor.acknowledged(request, 1.0, domain.MAG2)


@pytest.mark.parametrize("access", ["mag1", "mag2"])
@pytest.mark.parametrize("model", ["shared", "unique", "hybrid"])
def test_rfc7864_3_2_01_mn_and_lma_forward_coherently(
    domain: type[Domain], model: str, access: str
) -> None:
    """Whatever access the MN sends a flow over, the LMA's policy sends it back the same way."""
    node = mobile_node()
    interface = {"mag1": "mn-wlan", "mag2": "mn-cell"}[access]
    selector = IPv6TrafficSelector.of(destination=domain.P1, protocol=UDP)
    for name in ("mn-wlan", "mn-cell"):
        node.link_up(name, domain.at(0))
    node.take_actions()
    node.bind_flow(FlowTableEntry(1, 1, selector, interface))
    (steered,) = domain.of(SteerUplink, node.take_actions())
    assert [row.interface for row in steered.rows] == [interface]
    network = domain.network(model, decision_maker="mn")
    network.add_flow(1, "wlan", domain.P1)
    proxy_coa = {"mag1": domain.MAG1, "mag2": domain.MAG2}[access]
    network.uplink(packet(domain), proxy_coa)
    network.run(1.0)
    assert network.path(1) == proxy_coa


def test_rfc7864_3_2_02_either_the_mn_decides_or_the_lma(domain: type[Domain]) -> None:
    with pytest.raises(ValueError, match="decision_maker"):
        MobileNodePolicy(decision_maker="mn", policies=({"kind": "load-balance"},))
    follows = domain.network("shared", decision_maker="mn")
    follows.add_flow(1, "wlan", domain.P1)
    token = follows.move(1, "cell")
    assert follows.replies[token].error
    assert follows.path(1) == domain.MAG1
    decides = domain.network("shared", decision_maker="lma")
    decides.add_flow(1, "wlan", domain.P1)
    decides.uplink(packet(domain), domain.MAG2)
    assert decides.path(1) == domain.MAG1
    decides.move(1, "cell")
    decides.run(0.1)
    assert decides.path(1) == domain.MAG2


def test_rfc7864_3_2_1_01_handoff_indicator_6_shares_the_prefixes(domain: type[Domain]) -> None:
    anchor, answer = sharing(domain)
    assert HandoffHint.NEW_INTERFACE_SHARING_PREFIXES == 6
    assert answer.status == 0
    assert domain.prefixes(answer) == [domain.P1]
    assert [entry.prefixes for entry in anchor.core.bindings] == [(domain.P1,), (domain.P1,)]


@pytest.mark.parametrize("source", ["MAG1", "MAG2"])
def test_rfc7864_3_2_1_02_same_interface_updates_the_entry(
    domain: type[Domain], source: str
) -> None:
    anchor = domain.lma()
    anchor.acknowledged(domain.pbu())
    request = domain.pbu(1.0, prefixes=(domain.P1,), handoff=SHARING)
    answer = anchor.acknowledged(request, 1.0, getattr(domain, source))
    assert (answer.status, domain.prefixes(answer)) == (0, [domain.P1])
    (entry,) = anchor.core.bindings
    assert entry.proxy_coa == getattr(domain, source)


@pytest.mark.parametrize("same", ["nothing", "technology", "link_layer"])
def test_rfc7864_3_2_1_03_other_interface_gets_a_session_that_shares(
    domain: type[Domain], same: str
) -> None:
    """Other in access technology, in link-layer identifier, or in both."""
    of_first = {"technology": domain.WLAN, "link_layer": domain.LINK_LAYER_1}
    changes = {same: of_first[same]} if same in of_first else {}
    anchor, answer = sharing(domain, **changes)
    assert (answer.status, domain.prefixes(answer)) == (0, [domain.P1])
    first, second = anchor.core.bindings
    assert (first.proxy_coa, second.proxy_coa) == (domain.MAG1, domain.MAG2)
    assert first.bid != second.bid


def test_rfc7864_3_2_1_04_without_link_layer_identifier_a_session_that_shares(
    domain: type[Domain],
) -> None:
    anchor, answer = sharing(domain, technology=domain.WLAN, link_layer=None)
    assert (answer.status, domain.prefixes(answer)) == (0, [domain.P1])
    assert [entry.proxy_coa for entry in anchor.core.bindings] == [domain.MAG1, domain.MAG2]


def test_rfc7864_3_2_1_05_each_address_is_valid_on_every_interface(domain: type[Domain]) -> None:
    """The MN has its addresses on the logical interface, whichever access advertised the prefix;
    and each MAG delivers to them, and takes packets from them."""
    node = mobile_node("reflective")
    for interface in ("mn-wlan", "mn-cell"):
        node.link_up(interface, domain.at(0))
        advertisement = RouterAdvertisement(
            router_lifetime_s=1800, prefixes=(PrefixInformation(domain.P1),), mtu=1460
        )
        node.router_advertised(interface, ROUTER, advertisement, domain.at(0.1))
    assert domain.of(AssignAddress, node.take_actions()) == [AssignAddress(domain.P1)]
    network = domain.network("shared")
    for name, gateway in network.mags.items():
        assert gateway.forwarding.hosted == {(f"{name}-mn", domain.P1)}


@pytest.mark.parametrize("by", ["FMI", "PBA"])
def test_rfc7864_3_2_2_01_off_link_prefixes_are_not_advertised(
    domain: type[Domain], by: str
) -> None:
    gateway: Gateway = domain.mag()
    actions = []
    if by == "FMI":
        gateway.registered()
        actions += gateway.receive(domain.fmi(1, (domain.P2,)), 1.0)
    else:
        gateway.link_up()
        answer = domain.acceptance(gateway.request(), (domain.P1,), (domain.P2,))
        actions += gateway.receive(answer, 0.02)
    assert gateway.forwarding.hosted == {("mag1-mn", domain.P1), ("mag1-mn", domain.P2)}
    gateway.core.router_solicited(gateway.interface, domain.at(2.0))
    actions += gateway.taken()
    while (due := gateway.core.timer()) is not None and due < 2000:
        actions += gateway.timer(due)
    advertised = domain.of(Advertise, actions)
    assert len(advertised) > 2
    assert {action.prefixes for action in advertised} == {(domain.P1,)}


def test_rfc7864_3_2_2_02_fmi_goes_to_the_target_mag(domain: type[Domain]) -> None:
    for target, prefix, mag in (("wlan", domain.P2, "mag1"), ("cell", domain.P1, "mag2")):
        network = domain.network("unique")
        network.add_flow(1, "cell" if target == "wlan" else "wlan", prefix)
        network.move(1, target)
        network.run(0.1)
        ((destination, message),) = messages(network, UpdateNotification)
        assert destination == mag
        assert isinstance(message, UpdateNotification)
        assert message.reason == UpdateNotificationReason.FLOW_MOBILITY
        assert network.path(1) == getattr(domain, mag.upper())


def test_rfc7864_3_3_01_pba_has_the_flow_mobility_prefixes_off_link(domain: type[Domain]) -> None:
    network = domain.unattached(MobileNodePolicy(prefix_delivery="at-attach"))
    network.attach("mag1")
    network.run(0.1)
    network.messages()
    network.attach("mag2")
    network.run(0.1)
    ((destination, answer),) = messages(network, ProxyBindingAcknowledgement)
    assert destination == "mag2"
    assert domain.prefixes(answer, off_link=True) == [domain.P1]
    assert domain.prefixes(answer) == [domain.P2]
    assert network.off_link("mag2") == {domain.P1}


def told(message: Message) -> list[int]:
    """The flows that a message tells a MAG of."""
    return [option.fid for option in message.all_options(FlowIdentification)]


@pytest.mark.parametrize("model", ["shared", "unique"])
@pytest.mark.parametrize("by", ["FMI", "PBA"])
def test_rfc7864_3_4_01_all_flows_of_the_mag_are_conveyed(
    domain: type[Domain], by: str, model: str
) -> None:
    """Those that are sent there, and no others: one that the LMA drops never comes."""
    network = domain.network(model, granularity="flow")
    for fid, access in ((1, "cell"), (2, "wlan"), (3, "cell")):
        network.add_flow(fid, access, domain.P1)
    network.add_flow(4, "cell", domain.P1, action=FlowAction.DROP)
    network.run(0.1)
    kind: type[Message] = UpdateNotification
    if by == "PBA":
        network.detach("mag2")
        network.run(1.0)
        network.messages()
        network.attach("mag2")
        network.run(0.1)
        kind = ProxyBindingAcknowledgement
    conveyed = [message for to, message in messages(network, kind) if to == "mag2"]
    assert told(conveyed[-1]) == [1, 3]
    prefixes = domain.prefixes(conveyed[-1], off_link=True)
    assert prefixes == ([] if model == "shared" else [domain.P1])
    network.messages()
    network.move(1, "wlan")
    network.run(20.0)
    assert [(to, told(message)) for to, message in messages(network, UpdateNotification)] == [
        ("mag1", [1, 2]),
        ("mag2", [3]),
    ]


def test_rfc7864_3_4_02_each_flow_has_a_traffic_selector(domain: type[Domain]) -> None:
    """The LMA's have, and a MAG takes one without for none: it answers RFC 6089's 130."""
    network = domain.network("unique", granularity="flow")
    network.add_flow(1, "cell", domain.P1)
    network.run(0.1)
    ((_, message),) = messages(network, UpdateNotification)
    (option,) = message.all_options(FlowIdentification)
    assert option.sub_options == (network.row(1).selector,)
    gateway: Gateway = domain.mag().registered()
    fmi = domain.fmi(1, (domain.P2,))
    selector = IPv6TrafficSelector.of(destination=domain.P2, protocol=UDP)
    flows = (
        FlowIdentification(1, 1),
        FlowIdentification(2, 2, sub_options=(BindingReference((1,)),)),
        FlowIdentification(3, 3, sub_options=(selector,)),
    )
    (sent,) = domain.of(Send, gateway.receive(replace(fmi, options=fmi.options + flows), 1.0))
    answers = sent.message.all_options(FlowIdentification)
    assert [(answer.fid, answer.status) for answer in answers] == [(1, 130), (2, 130), (3, 0)]
    assert [row.fid for row in gateway.core.bindings[gateway.interface].flows] == [3]


def test_rfc7864_4_2_01_fmi_has_the_mn_identifier_and_then_prefixes(domain: type[Domain]) -> None:
    network = domain.network("unique")
    network.add_flow(1, "cell", domain.P2)
    network.move(1, "wlan")
    ((_, message),) = messages(network, UpdateNotification)
    identifier, *prefixes = message.options
    assert identifier == MobileNodeIdentifier.of(domain.MN)
    assert prefixes == [HomeNetworkPrefix.of(domain.P2, off_link=True)]


def test_rfc7864_4_2_02_absent_prefixes_are_removed(domain: type[Domain]) -> None:
    gateway: Gateway = domain.mag().registered()
    for sequence, conveyed in enumerate(
        ((domain.P2,), (domain.P2, domain.P3), (domain.P3,), (domain.P2,))
    ):
        gateway.receive(domain.fmi(sequence, conveyed), 1.0 + sequence)
        hosted = {prefix for _, prefix in gateway.forwarding.hosted}
        assert hosted == {domain.P1, *conveyed}


@pytest.mark.parametrize("conveyed", [1, 2])
def test_rfc7864_4_3_01_fma_has_the_mn_identifier_and_then_prefixes(
    domain: type[Domain], conveyed: int
) -> None:
    gateway: Gateway = domain.mag().registered()
    prefixes = (domain.P2, domain.P3)[:conveyed]
    (sent,) = domain.of(Send, gateway.receive(domain.fmi(9, prefixes), 1.0))
    assert isinstance(sent.message, UpdateNotificationAcknowledgement)
    assert (sent.message.status, sent.message.sequence) == (0, 9)
    identifier, *rest = sent.message.options
    assert identifier == MobileNodeIdentifier.of(domain.MN)
    assert rest == [HomeNetworkPrefix.of(prefix, off_link=True) for prefix in prefixes]


def test_rfc7864_5_2_01_lma_has_a_flow_mobility_cache(domain: type[Domain]) -> None:
    """The columns of figure 7, and what they do: precedence, action, activity."""
    network = domain.network("shared")
    network.add_flow(2, "cell", domain.P1)
    network.add_flow(1, "wlan", domain.P1, action=FlowAction.DROP)
    cache = network.lma.core.flows.cache
    first, second = cache.rows(domain.MN)
    assert isinstance(first, FlowMobilityCacheEntry)
    assert [(row.priority, row.fid) for row in (first, second)] == [(1, 1), (2, 2)]
    assert first.selector.matches(packet(domain).reversed())
    assert (first.bids, second.bids) == ((network.bid("wlan"),), (network.bid("cell"),))
    assert (first.action, second.action) == (FlowAction.DROP, FlowAction.FORWARD)
    assert cache.match(domain.MN, packet(domain).reversed()) == first
    network.detach("mag1")
    network.run(0.1)
    assert [row.active for row in cache.rows(domain.MN)] == [False, True]
    matched = cache.match(domain.MN, packet(domain).reversed())
    assert matched is not None
    assert matched.fid == 2


@pytest.mark.parametrize("by", ["FMI", "PBA"])
def test_rfc7864_5_2_02_mag_has_a_flow_mobility_cache(domain: type[Domain], by: str) -> None:
    """The columns of figure 7 that a MAG can know (BIDs are the LMA's own, section 5.1), in order
    of precedence, whole sets, and what they do: no other packets to and from the prefix pass."""
    gateway: Gateway = domain.mag().registered()
    selectors = [IPv6TrafficSelector.of(destination=domain.P2, protocol=n) for n in (6, 17, 50)]
    flows = [
        FlowIdentification(fid, priority, sub_options=(selector,))
        for fid, priority, selector in zip((1, 2, 3), (30, 10, 20), selectors, strict=True)
    ]
    entry = gateway.core.bindings[gateway.interface]
    seconds = 1.0
    for number, there in enumerate((flows[:2], flows, flows[1:])):
        message: Message = domain.fmi(number, (domain.P2,))
        if by == "PBA":
            while entry.request is None:
                seconds = gateway.core.timer() or math.inf
                gateway.timer(seconds)
            message = domain.acceptance(entry.request, (domain.P1,), (domain.P2,))
        gateway.receive(replace(message, options=(*message.options, *there)), seconds)
        rows = entry.flows
        expected = sorted(there, key=lambda flow: flow.priority)
        assert [(row.priority, row.fid, row.selector) for row in rows] == [
            (flow.priority, flow.fid, flow.selector) for flow in expected
        ]
        assert {(row.action, row.active, row.bids) for row in rows} == {
            (FlowAction.FORWARD, True, ())
        }
        filtered = gateway.forwarding.filters[gateway.interface]
        assert (filtered.prefixes, filtered.flows) == ((domain.P2,), rows)


def test_rfc7864_6_01_mn_enforces_its_uplink_policy(domain: type[Domain]) -> None:
    node = mobile_node()
    for interface in ("mn-wlan", "mn-cell"):
        node.link_up(interface, domain.at(0))
    node.take_actions()
    selector = IPv6TrafficSelector.of(destination=domain.P1, protocol=UDP)
    for interface in ("mn-cell", "mn-wlan"):
        row = FlowTableEntry(1, 1, selector, interface)
        node.bind_flow(row)
        assert domain.of(SteerUplink, node.take_actions()) == [SteerUplink((row,))]
