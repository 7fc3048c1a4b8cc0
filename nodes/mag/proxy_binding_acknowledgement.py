"""Constructing the Proxy Binding Acknowledgement (RFC 5213 section 5.3.6)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Instant
from nodes.config import ANY_PREFIX
from nodes.flow_mobility_set import FlowMobilitySet
from nodes.wire.messages import (
    ProxyBindingAcknowledgement,
    ProxyBindingStatus,
    ProxyBindingUpdate,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    LinkLocalAddress,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
    Timestamp,
)

_FIRST_REJECTION = 128


def acknowledge(
    request: ProxyBindingUpdate,
    status: ProxyBindingStatus,
    now: Instant,
    *,
    lifetime: int = 0,
    sequence: int | None = None,
    prefixes: tuple[IPv6Network, ...] = (),
    flow_mobility: FlowMobilitySet | None = None,
    link_local_address: IPv6Address | None = None,
    own_time: bool = False,
) -> ProxyBindingAcknowledgement:
    """The answer to `request`. `lifetime` is in units of 4 s; a rejection echoes the request's
    prefixes, an acceptance has `prefixes` and what `flow_mobility` is provided for. `sequence`
    replaces the request's where the sender has to learn another, and so does the MAG's
    `link_local_address`; `own_time` puts this node's time in place of the request's timestamp."""
    options: list[Option] = [request.option(MobileNodeIdentifier) or MobileNodeIdentifier.of("")]
    if status >= _FIRST_REJECTION:
        echoed = request.all_options(HomeNetworkPrefix)
        options.extend(echoed or (HomeNetworkPrefix.of(ANY_PREFIX),))
    else:
        options.extend(HomeNetworkPrefix.of(prefix) for prefix in prefixes)
        off_link, flows = flow_mobility or FlowMobilitySet()
        options.extend(HomeNetworkPrefix.of(prefix, off_link=True) for prefix in off_link)
        options.extend(flows)
    options.append(request.option(HandoffIndicator) or HandoffIndicator(0))
    options.append(request.option(AccessTechnologyType) or AccessTechnologyType(0))
    timestamp = request.option(Timestamp)
    if timestamp is not None:
        options.append(Timestamp.of_unix_ns(now.unix_ns) if own_time else timestamp)
    link_layer = request.option(MobileNodeLinkLayerIdentifier)
    if link_layer is not None:
        options.append(link_layer)
    link_local = request.option(LinkLocalAddress)
    if link_local is not None:
        options.append(LinkLocalAddress(link_local_address or link_local.address))
    return ProxyBindingAcknowledgement(
        status=status,
        proxy_registration=True,
        sequence=request.sequence if sequence is None else sequence,
        lifetime=lifetime,
        options=tuple(options),
    )
