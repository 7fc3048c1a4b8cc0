"""Whether a Proxy Binding Update is to be accepted (RFC 5213 sections 5.3.1 and 5.5)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Instant
from nodes.config import EgressAddress, LmaConfig, MobileNodePolicy
from nodes.lma.binding_cache import BindingCacheEntry, Request
from nodes.wire.messages import (
    MobileNodeIdentifierSubtype,
    ProxyBindingStatus,
    ProxyBindingUpdate,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HandoffIndicator,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Timestamp,
)

SEQUENCE_WINDOW = 0x8000  # RFC 6275 section 9.5.1: serial number arithmetic modulo 2^16


def look_up_keys(message: ProxyBindingUpdate, proxy_coa: IPv6Address) -> Request | None:
    """The look-up keys of a PBU; None if a mandatory option is missing."""
    identifier = message.option(MobileNodeIdentifier)
    handoff = message.option(HandoffIndicator)
    technology = message.option(AccessTechnologyType)
    if identifier is None or handoff is None or technology is None:
        return None
    link_layer = message.option(MobileNodeLinkLayerIdentifier)
    # An identifier of zeros says no more than none (RFC 5213 section 5.4.1.2, figure 8).
    asked = message.all_options(HomeNetworkPrefix)
    prefixes: list[IPv6Network] = [option.prefix for option in asked if not option.all_zero]
    return Request(
        mn_id=identifier.nai,
        access_technology=int(technology.technology),
        link_layer_id=link_layer.identifier if link_layer and any(link_layer.identifier) else None,
        handoff=int(handoff.hint),
        prefixes=tuple(prefixes),
        proxy_coa=proxy_coa,
        any_prefix=len(prefixes) < len(asked),
    )


def check(
    config: LmaConfig,
    message: ProxyBindingUpdate,
    source: IPv6Address,
    proxy_coa: IPv6Address,
    session: BindingCacheEntry | None,
    now: Instant,
) -> ProxyBindingStatus | None:
    """Steps 4 to 12 of RFC 5213 section 5.3.1: the status to reject with, or None."""
    identifier = message.option(MobileNodeIdentifier)
    if identifier is None:
        return ProxyBindingStatus.MISSING_MN_IDENTIFIER_OPTION
    known = identifier.subtype == MobileNodeIdentifierSubtype.NAI
    policy = config.mobile_nodes.get(identifier.nai) if known else None
    if not _may_speak_for(config, source, proxy_coa, policy):
        return ProxyBindingStatus.MAG_NOT_AUTHORIZED_FOR_PROXY_REG
    if policy is None:
        return ProxyBindingStatus.NOT_LMA_FOR_THIS_MOBILE_NODE
    if not policy.enabled:
        return ProxyBindingStatus.PROXY_REG_NOT_ENABLED
    order = _check_order(config, message, session, now)
    if order is not None:
        return order
    if message.option(HomeNetworkPrefix) is None:
        return ProxyBindingStatus.MISSING_HOME_NETWORK_PREFIX_OPTION
    if message.option(HandoffIndicator) is None:
        return ProxyBindingStatus.MISSING_HANDOFF_INDICATOR_OPTION
    if message.option(AccessTechnologyType) is None:
        return ProxyBindingStatus.MISSING_ACCESS_TECH_TYPE_OPTION
    return None


def _may_speak_for(
    config: LmaConfig,
    source: IPv6Address,
    proxy_coa: IPv6Address,
    policy: MobileNodePolicy | None,
) -> bool:
    """RFC 5213 section 4: who may register is restricted to authorized MAGs, and to those of the
    mobile node. A MAG speaks for its own Proxy-CoA: with an Alternate Care-of Address option it
    could else take over, or end, what another has registered."""
    authorized = (policy and policy.mags) or config.authorized_mags
    own = source == proxy_coa or EgressAddress(source, proxy_coa) in config.egress_addresses
    return own and proxy_coa in authorized


def _check_order(
    config: LmaConfig,
    message: ProxyBindingUpdate,
    entry: BindingCacheEntry | None,
    now: Instant,
) -> ProxyBindingStatus | None:
    """RFC 5213 section 5.5. Timestamps are compared within a mobility session: two MAGs at
    different distances may register two interfaces of one MN at the same time."""
    timestamp = message.option(Timestamp)
    if timestamp is None or not config.timestamp_based_approach_in_use:
        if entry is not None and not newer(message.sequence, entry.sequence):
            return ProxyBindingStatus.SEQUENCE_NUMBER_OUT_OF_WINDOW
        return None
    if entry is not None and timestamp.value < entry.greatest_timestamp:
        return ProxyBindingStatus.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED
    # "Greater than all previously accepted": an equal one isn't valid, nor is it lower.
    if entry is not None and timestamp.value == entry.greatest_timestamp:
        return ProxyBindingStatus.TIMESTAMP_MISMATCH
    if config.mobile_node_generated_timestamp_in_use:
        return None
    window_ns = config.timestamp_validity_window_ms * 1_000_000
    if abs(timestamp.unix_ns - now.unix_ns) > window_ns:
        return ProxyBindingStatus.TIMESTAMP_MISMATCH
    return None


def newer(sequence: int, than: int) -> bool:
    """RFC 6275 section 9.5.1."""
    return 0 < (sequence - than) % (2 * SEQUENCE_WINDOW) < SEQUENCE_WINDOW
