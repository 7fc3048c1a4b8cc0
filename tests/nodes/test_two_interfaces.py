"""Two interfaces of a mobile node at one MAG: whom an FMI means (RFC 7864 section 4.2 names the
mobile node only)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.actions import Send
from nodes.config import AccessProfile, MobileNodePolicy
from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.wire.messages import Heartbeat, UpdateNotification, UpdateNotificationAcknowledgement
from nodes.wire.options import (
    AccessTechnologyType,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
)
from nodes.wire.traffic_selector import IPv6TrafficSelector

if TYPE_CHECKING:
    from tests.domain import Domain


def initiate(domain: type[Domain], second_at_mag1: bool) -> UpdateNotification:
    """The FMI of a move to the cell, where that is at the MAG of the WLAN, or at another."""
    lma = domain.lma(MobileNodePolicy(prefix_model="unique"))
    lma.receive(domain.pbu(), 0.0, domain.MAG1)
    cell = domain.pbu(0.1, technology=domain.CELL, link_layer=domain.LINK_LAYER_2)
    lma.receive(cell, 0.1, domain.MAG1 if second_at_mag1 else domain.MAG2)
    first, second = lma.core.bindings
    selector = IPv6TrafficSelector.of(destination=domain.P1, protocol=17)
    row = FlowMobilityCacheEntry(1, 1, selector, (first.bid,))
    lma.core.add_flow(domain.MN, row, 1, domain.at(1))
    lma.core.move_flow(domain.MN, 1, second.bid, 2, domain.at(1))
    (message,) = [a.message for a in domain.of(Send, lma.taken())]
    assert isinstance(message, UpdateNotification)
    return message


def test_an_fmi_names_the_interface_where_there_are_two(domain: type[Domain]) -> None:
    usual: list[Option] = [
        MobileNodeIdentifier.of(domain.MN),
        HomeNetworkPrefix.of(domain.P1, off_link=True),
    ]
    assert list(initiate(domain, second_at_mag1=False).options) == usual
    named = [
        AccessTechnologyType(domain.CELL),
        MobileNodeLinkLayerIdentifier(domain.LINK_LAYER_2),
    ]
    assert list(initiate(domain, second_at_mag1=True).options) == [*usual, *named]


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("wanted", ["wlan", "cell"])
def test_the_mag_uses_the_interface_that_is_named(
    domain: type[Domain], wanted: str, learned: bool
) -> None:
    """Also by an identifier that it has from a Router Solicitation, not from the policy store."""
    accesses = {
        "wlan": (domain.WLAN, domain.LINK_LAYER_1, domain.P1),
        "cell": (domain.CELL, domain.LINK_LAYER_2, domain.P2),
    }
    mag = domain.mag(
        access_interfaces={
            name: AccessProfile(
                mn_id=domain.MN,
                access_technology=technology,
                link_layer_id="" if learned else link_layer.hex(":"),
            )
            for name, (technology, link_layer, _) in accesses.items()
        }
    )
    for name, (_, link_layer, prefix) in accesses.items():
        mag.interface = name
        mag.registered((prefix,))
        mag.core.router_solicited(name, domain.at(0.5), link_layer_address=link_layer)
    technology, link_layer, _ = accesses[wanted]
    message = domain.fmi(1, [domain.P3])
    options = (
        *message.options,
        AccessTechnologyType(technology),
        MobileNodeLinkLayerIdentifier(link_layer),
    )
    mag.receive(UpdateNotification(1, message.reason, options, acknowledge=True), 1.0)
    found = {name: entry.off_link_prefixes for name, entry in mag.core.bindings.items()}
    assert found == {"wlan": (), "cell": (), wanted: (domain.P3,)}
    # An interface that isn't here: the mobile node isn't attached with it.
    unknown = MobileNodeLinkLayerIdentifier(bytes(6))
    for sequence, named in enumerate((AccessTechnologyType(11), unknown), start=2):
        options = (*message.options, named)
        notification = UpdateNotification(sequence, message.reason, options, acknowledge=True)
        (answer,) = domain.of(Send, mag.receive(notification, 1.0))
        assert answer.message.status == 132  # type: ignore[attr-defined]


@pytest.mark.parametrize("second_at_mag1", [True, False])
def test_a_flow_that_comes_back_takes_its_prefix_along(
    domain: type[Domain], second_at_mag1: bool
) -> None:
    """A MAG routes a prefix to one interface: what the other one has no use for any more is
    withdrawn at once there, and not when packets on their way have had the time to arrive."""
    lma = domain.lma(MobileNodePolicy(prefix_model="unique"))
    lma.receive(domain.pbu(), 0.0, domain.MAG1)
    mag = domain.MAG1 if second_at_mag1 else domain.MAG2
    cell = domain.pbu(0.1, technology=domain.CELL, link_layer=domain.LINK_LAYER_2)
    lma.receive(cell, 0.1, mag)
    first, second = lma.core.bindings
    selector = IPv6TrafficSelector.of(destination=domain.P1, protocol=17)
    row = FlowMobilityCacheEntry(1, 1, selector, (first.bid,))
    lma.core.add_flow(domain.MN, row, 1, domain.at(1))
    lma.core.move_flow(domain.MN, 1, second.bid, 2, domain.at(1))
    (there,) = [a.message for a in domain.of(Send, lma.taken())]
    assert isinstance(there, UpdateNotification)
    answer = UpdateNotificationAcknowledgement(there.sequence, 0, there.options)
    lma.receive(answer, 1.1, mag)
    lma.core.move_flow(domain.MN, 1, first.bid, 3, domain.at(2))
    actions = lma.taken()
    back = [a.message for a in domain.of(Send, actions)]
    if not second_at_mag1:
        assert back == []
        return
    (withdrawal,) = back
    assert isinstance(withdrawal, UpdateNotification)
    assert HomeNetworkPrefix.of(domain.P1, off_link=True) not in withdrawal.options
    assert AccessTechnologyType(domain.CELL) in withdrawal.options


def test_after_a_restart_of_the_lma_both_are_there_again_rfc7864_3_2_1(
    domain: type[Domain],
) -> None:
    """Of the same technology and with the same prefix: as new attachments, the second would be
    taken for the first (RFC 5213 section 5.4.1.1, step 5, fourth condition)."""
    link_layers = {"wlan": domain.LINK_LAYER_1, "wlan2": domain.LINK_LAYER_2}
    mag = domain.mag(
        access_interfaces={
            name: AccessProfile(
                mn_id=domain.MN, access_technology=domain.WLAN, link_layer_id=link_layer.hex(":")
            )
            for name, link_layer in link_layers.items()
        }
    )
    lma = domain.lma(MobileNodePolicy(prefix_model="shared"))
    for name in link_layers:
        mag.interface = name
        mag.link_up()
        mag.receive(lma.acknowledged(mag.request()))
    assert len(list(lma.core.bindings)) == 2
    restarted = domain.lma(MobileNodePolicy(prefix_model="shared"))
    announcement = Heartbeat(0, True, True, domain.restart_counter(2))
    for action in domain.of(Send, mag.receive(announcement, 5)):
        mag.receive(restarted.acknowledged(action.message, 5), 5)
    assert {entry.link_layer_id for entry in restarted.core.bindings} == set(link_layers.values())
    assert {entry.prefixes for entry in restarted.core.bindings} == {(domain.P1,)}
