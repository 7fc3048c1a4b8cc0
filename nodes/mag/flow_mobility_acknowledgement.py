"""What a MAG makes of a Flow Mobility Initiate, and the acknowledgement (RFC 7864 section 4).

An FMI is the whole set of off-link prefixes, and of flows if it has any: then packets from and to
off-link prefixes pass only if they are of one of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Network

from nodes.flow_mobility_cache import FlowMobilityCacheEntry
from nodes.mag.binding_update_list import BindingUpdateListEntry, Registration
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import UpdateNotification, UpdateNotificationStatus
from nodes.wire.options import (
    AccessTechnologyType,
    HomeNetworkPrefix,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
)
from nodes.wire.traffic_selector import IPv6TrafficSelector, UnknownTrafficSelector
from nodes.wire.values import FlowBindingAction, FlowStatus

_REMOVING = (FlowBindingAction.DELETE, FlowBindingAction.REVOKE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`entry` is whom it concerns, and None if nothing is to change. `flows` is None if the message
    tells of none. `answer` are the options of the acknowledgement that follow the mobile node
    identifier."""

    status: UpdateNotificationStatus
    entry: BindingUpdateListEntry | None = None
    off_link: tuple[IPv6Network, ...] = ()
    flows: tuple[FlowMobilityCacheEntry, ...] | None = None
    answer: tuple[Option, ...] = ()


def examine(message: UpdateNotification, bindings: Iterable[BindingUpdateListEntry]) -> Verdict:
    """RFC 7864 sections 4.2 and 4.3. On-link prefixes come from the LMA with PBAs only: here they
    name the session, and one that is in another is an error."""
    identifier = message.option(MobileNodeIdentifier)
    prefixes = tuple(message.all_options(HomeNetworkPrefix))
    if identifier is None or not prefixes or any(option.all_zero for option in prefixes):
        return Verdict(UpdateNotificationStatus.REASON_UNSPECIFIED)
    entry = next(
        (
            entry
            for entry in bindings
            if identifier.names(entry.profile.mn_id)
            and entry.state is Registration.REGISTERED
            and _is_meant(entry, message)
        ),
        None,
    )
    if entry is None:
        return Verdict(UpdateNotificationStatus.MN_NOT_ATTACHED)
    on_link = {option.prefix for option in prefixes if not option.off_link}
    if not on_link <= set(entry.prefixes):
        return Verdict(UpdateNotificationStatus.REASON_UNSPECIFIED)
    rows, answers = flow_rows(message.all_options(FlowIdentification))
    off_link = dict.fromkeys(
        option.prefix
        for option in prefixes
        if option.off_link and option.prefix not in entry.prefixes
    )
    return Verdict(
        UpdateNotificationStatus.SUCCESS, entry, tuple(off_link), rows, (*prefixes, *answers)
    )


def _is_meant(entry: BindingUpdateListEntry, message: UpdateNotification) -> bool:
    """Whether the interface is the one that the message names, if it names one: an LMA does when
    the mobile node has several at this MAG."""
    technology = message.option(AccessTechnologyType)
    identifier = message.option(MobileNodeLinkLayerIdentifier)
    if technology is not None and technology.technology != entry.profile.access_technology:
        return False
    return identifier is None or identifier.identifier == entry.link_layer_id


def flow_rows(
    options: Sequence[FlowIdentification],
) -> tuple[tuple[FlowMobilityCacheEntry, ...] | None, tuple[FlowIdentification, ...]]:
    """The rows of the MAG's flow mobility cache, in order of precedence, and what it answers about
    each flow: the option without sub-options, and a status as in RFC 6089 section 4.2. Without any
    option there are no rows at all: that is another thing than flows of which none is right."""
    if not options:
        return None, ()
    rows: list[FlowMobilityCacheEntry] = []
    answers = []
    for option in options:
        status = _status(option)
        if any(option.fid == row.fid or option.priority == row.priority for row in rows):
            status = FlowStatus.MALFORMED  # each is unique (RFC 6089 sections 4.2 and 4.3)
        if status == FlowStatus.SUCCESSFUL:
            assert isinstance(option.selector, IPv6TrafficSelector)
            # Binding identifiers are the LMA's own (RFC 7864 section 5.1).
            rows.append(FlowMobilityCacheEntry(option.priority, option.fid, option.selector, ()))
        answers.append(replace(option, status=status, sub_options=()))
    rows.sort(key=lambda row: row.priority)
    return tuple(rows), tuple(answers)


def _status(option: FlowIdentification) -> FlowStatus:
    """A flow without selector breaks RFC 7864 section 3.4. One that is in the set and is to be
    deleted contradicts itself: the actions of RFC 7109 section 6.2.1 are for messages that aren't
    whole sets, and those that add or change say here what being there says already."""
    if option.action in _REMOVING:
        return FlowStatus.MALFORMED
    if isinstance(option.selector, IPv6TrafficSelector):
        return FlowStatus.SUCCESSFUL
    unknown = any(isinstance(item, UnknownTrafficSelector) for item in option.sub_options)
    if option.selector is not None or unknown:
        return FlowStatus.TRAFFIC_SELECTOR_FORMAT_NOT_SUPPORTED
    return FlowStatus.MALFORMED
