"""Flow Mobility Initiate: telling a MAG what it provides flow mobility for (RFC 7864 section 4.2).

Each FMI is the whole set, so one at a time is under way for a binding: of two, the wrong one could
arrive last. What a MAG has is known from its FMAs, and from PBAs, which carry the set as well
(section 3.3). In between it is known to have what is in the old set and in the new.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from nodes.actions import Instant, Log, Outbox
from nodes.config import LmaConfig
from nodes.deadlines import Deadlines
from nodes.flow_mobility_set import FlowMobilitySet, Item
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.update_notification import Outstanding, UpdateNotifier
from nodes.wire.flow_options import FlowIdentification
from nodes.wire.messages import (
    UpdateNotification,
    UpdateNotificationAcknowledgement,
    UpdateNotificationReason,
)
from nodes.wire.options import (
    AccessTechnologyType,
    HomeNetworkPrefix,
    MobileNodeGroupIdentifier,
    MobileNodeIdentifier,
    MobileNodeLinkLayerIdentifier,
    Option,
)
from nodes.wire.values import FlowStatus

NOT_SUPPORTED = "the MAG doesn't support Update Notifications"
_FIRST_REFUSAL = FlowStatus.ADMINISTRATIVELY_PROHIBITED


@dataclass(frozen=True, slots=True)
class Asked:
    """What an unanswered FMI asks for, and what the MAG had before."""

    mn_id: str
    bid: int
    wanted: FlowMobilitySet
    before: FlowMobilitySet


@dataclass(frozen=True, slots=True)
class Forced:
    """A MAG that hasn't registered a mobile node again yet, though asked to; None: anyone."""

    mn_id: str | None
    peer: IPv6Address


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an FMI: `error` is None if the MAG has the set now, but for the flows that it
    refused, by FID with their status (RFC 6089 section 4.2)."""

    asked: Asked
    error: str | None = None
    refused: dict[int, int] = field(default_factory=dict)


class FlowMobilityInitiator:
    """`needed` says what a binding's MAG has to have."""

    def __init__(
        self,
        config: LmaConfig,
        bindings: BindingCache,
        needed: Callable[[BindingCacheEntry], FlowMobilitySet],
        outbox: Outbox,
        rng: random.Random,
    ) -> None:
        self._config = config
        self._bindings = bindings
        self._needed = needed
        self._outbox = outbox
        self.notifier = UpdateNotifier(
            config.address,
            config.min_delay_between_update_notification_replay_ms / 1000,
            config.max_update_notification_retransmit_count,
            rng,
        )
        # By BID: when what is needed no more is to be withdrawn (monotonic s).
        self._surplus: dict[int, dict[Item, float]] = {}
        self._withdrawals: Deadlines[int] = Deadlines()
        # What is outstanding: FMIs by BID, and orders to register again.
        self._asked: dict[int, Asked] = {}
        self._forced: set[Forced] = set()
        self._again: set[int] = set()
        self._unsupporting: set[IPv6Address] = set()

    def deadline(self) -> float | None:
        due = (self.notifier.deadline(), self._withdrawals.first())
        return min((time for time in due if time is not None), default=None)

    def supports(self, entry: BindingCacheEntry) -> bool:
        return entry.proxy_coa not in self._unsupporting

    def asked(self, bid: int) -> FlowMobilitySet | None:
        """What the unanswered FMI for a binding asks for."""
        found = self._asked.get(bid)
        return None if found is None else found.wanted

    def request(self, entry: BindingCacheEntry, now: Instant) -> None:
        """Make the MAG have what is needed now, or as soon as it has answered what it was asked."""
        if self.asked(entry.bid) is not None:
            self._again.add(entry.bid)
            return
        self._again.discard(entry.bid)
        before, overdue = known(entry), self._overdue(entry.bid, now)
        wanted = before.only(lambda item: item not in overdue).with_all(self._needed(entry))
        if not self.supports(entry):
            # Nothing can be withdrawn, and who asked for more has been refused.
            self._note(entry.bid, dict.fromkeys(overdue, math.inf))
        elif set(wanted.items()) != set(before.items()):
            self._send(entry, Asked(entry.mn_id, entry.bid, wanted, before), now)

    def unanswered(self, bid: int) -> Asked | None:
        """The unanswered FMI for a binding."""
        return self._asked.get(bid)

    def ask_again(self, asked: Asked, now: Instant) -> None:
        """An FMI whose answer may have been lost with an earlier start of this LMA. With another
        sequence number: the MAG may have had newer ones since, and each is the whole set."""
        entry = self._bindings.get(asked.bid)
        if entry is not None and entry.registered:
            self._send(entry, asked, now)

    def _send(self, entry: BindingCacheEntry, asked: Asked, now: Instant) -> None:
        self._bindings.touched.add(entry.mn_id)
        self._believe(entry, asked.before.only(lambda item: item in asked.wanted.items()))
        message = UpdateNotification(
            sequence=0,
            reason=UpdateNotificationReason.FLOW_MOBILITY,
            acknowledge=True,
            options=self._options(entry, asked.wanted),
        )
        sequence, send = self.notifier.send(message, entry.proxy_coa, asked, now)
        self._asked[entry.bid] = asked
        self._withdrawals.set(entry.bid, None)
        details = {"sequence": sequence, "to": str(entry.proxy_coa)}
        self._outbox.put(send, Log("fmi-sent", details))

    def force_registration(self, mn_id: str | None, peer: IPv6Address, now: Instant) -> bool:
        """Ask a MAG to register a mobile node again, or all that it has. RFC 7077 section 5.1
        recommends to do so without the A flag: the PBU shows that it was received, and without
        one it goes out again. False if the MAG knows no Update Notifications."""
        if peer in self._unsupporting:
            return False
        forced = Forced(mn_id, peer)
        self._give_up({forced})
        reason = UpdateNotificationReason.FORCE_REREGISTRATION
        whose: Option = MobileNodeGroupIdentifier()
        if mn_id is not None:
            whose = MobileNodeIdentifier.of(mn_id)
        _, send = self.notifier.send(UpdateNotification(0, reason, (whose,)), peer, forced, now)
        self._forced.add(forced)
        self._outbox.put(send, Log("registration-forced", {"mn": mn_id, "mag": str(peer)}))
        return True

    def registered(self, mn_id: str, peer: IPv6Address) -> None:
        """A PBU for the mobile node came from `peer`."""
        self._give_up({Forced(mn_id, peer), Forced(None, peer)})

    def _give_up(self, forced: set[Forced]) -> None:
        if forced & self._forced:
            self.notifier.withdraw(lambda outstanding: outstanding.subject in forced)
            self._forced -= forced

    def _options(self, entry: BindingCacheEntry, wanted: FlowMobilitySet) -> tuple[Option, ...]:
        """MN-ID followed by the prefixes (RFC 7864 section 4.2). There has to be one at least: the
        session's own, on-link, say that no off-link ones are left. With two interfaces of the node
        at one MAG, those options follow that name an interface in a PBU."""
        prefixes: Iterable[Option] = (
            HomeNetworkPrefix.of(prefix, off_link=True) for prefix in wanted.prefixes
        )
        if not wanted.prefixes:
            prefixes = (HomeNetworkPrefix.of(prefix) for prefix in entry.prefixes)
        options: list[Option] = [MobileNodeIdentifier.of(entry.mn_id), *prefixes, *wanted.flows]
        if self._siblings(entry):
            options.append(AccessTechnologyType(entry.access_technology))
            if entry.link_layer_id is not None and any(entry.link_layer_id):
                options.append(MobileNodeLinkLayerIdentifier(entry.link_layer_id))
        return tuple(options)

    def _siblings(self, entry: BindingCacheEntry) -> list[BindingCacheEntry]:
        """Other interfaces of the mobile node at the same MAG."""
        return [
            other
            for other in self._bindings.of(entry.mn_id)
            if other is not entry and other.registered and other.proxy_coa == entry.proxy_coa
        ]

    def convey(self, entry: BindingCacheEntry) -> FlowMobilitySet:
        """What the PBA that accepts `entry` tells its MAG (RFC 7864 section 3.3). While an FMI is
        unanswered, the same as that: whichever comes last has the same effect."""
        self.registered(entry.mn_id, entry.proxy_coa)
        asked = self.asked(entry.bid)
        if asked is not None:
            return asked
        # What no FMI could withdraw, a PBA does.
        left = {item for item, due in self._surplus.get(entry.bid, {}).items() if due == math.inf}
        kept = known(entry).only(lambda item: item not in left)
        self._believe(entry, kept.with_all(self._needed(entry)))
        return known(entry)

    def acknowledged(
        self, message: UpdateNotificationAcknowledgement, peer: IPv6Address
    ) -> Outcome | None:
        """Process an FMA (RFC 7077 section 5.2, RFC 7864 section 4.3). None: it answers nothing."""
        outstanding = self.notifier.acknowledge(message, peer)
        if outstanding is None:
            self._outbox.put(Log("fma-discarded", {"sequence": message.sequence}))
            return None
        status = int(message.status)
        self._outbox.put(Log("fma-received", {"sequence": message.sequence, "status": status}))
        ended = self._ended([outstanding])
        if not ended:
            return None
        (asked,) = ended
        entry = self._bindings.get(asked.bid)
        assert entry is not None  # else the FMI would have been withdrawn: forget
        if not message.accepted:
            self._failed(asked)
            return Outcome(asked, f"the MAG answered with status {status}")
        refused = {
            option.fid: int(option.status)
            for option in message.all_options(FlowIdentification)
            if option.status >= _FIRST_REFUSAL
        }
        flows = tuple(flow for flow in asked.wanted.flows if flow.fid not in refused)
        self._believe(entry, FlowMobilitySet(asked.wanted.prefixes, flows))
        return Outcome(asked, refused=refused)

    def _failed(self, asked: Asked) -> None:
        """The MAG has what it had before, and no FMI can withdraw of it what was to be."""
        entry = self._bindings.get(asked.bid)
        assert entry is not None  # else the FMI would have been withdrawn: forget
        self._believe(entry, known(entry).with_all(asked.before))
        left = set(asked.before.items()) - set(asked.wanted.items())
        self._note(entry.bid, dict.fromkeys(left, math.inf))

    def wants_again(self, bid: int) -> bool:
        return bid in self._again

    def unsupported(self, peer: IPv6Address) -> list[Outcome]:
        """A Binding Error with status 2: the MAG knows no Update Notifications, and MUST NOT get
        any again until an administrative action (RFC 7077 section 5.2): a restart of the LMA."""
        self._unsupporting.add(peer)
        withdrawn = self.notifier.withdraw(lambda outstanding: outstanding.peer == peer)
        outcomes = [Outcome(asked, NOT_SUPPORTED) for asked in self._ended(withdrawn)]
        for outcome in outcomes:
            self._failed(outcome.asked)
        return outcomes

    def handle_timer(self, now: Instant) -> list[Outcome]:
        actions, expired = self.notifier.handle_timer(now)
        self._outbox.put(*actions)
        for outstanding in expired:
            self._outbox.put(Log("fmi-expired", {"sequence": outstanding.message.sequence}))
        return [Outcome(asked, "the MAG didn't answer the FMI") for asked in self._ended(expired)]

    def withdraw_surplus(self, mn_id: str, now: Instant) -> None:
        """Note what is needed no more; withdraw it when it has been so for a while. Packets that
        are on their way, and the mobile node, which learns of a move from packets, need the time
        between (RFC 7864 names none). At once where the prefix is that of another interface at the
        same MAG: it goes there only then."""
        delay_s = self._config.mobile_nodes[mn_id].withdrawal_delay_ms / 1000
        for entry in self._bindings.of(mn_id):
            needed = set(self._needed(entry).items())
            noted = self._surplus.get(entry.bid, {})
            missed = {prefix for other in self._siblings(entry) for prefix in other.prefixes}
            surplus = {
                item: noted.get(item, now.monotonic + (0.0 if item in missed else delay_s))
                for item in known(entry).items()
                if item not in needed and entry.registered
            }
            self._note(entry.bid, surplus)
            if self._overdue(entry.bid, now) and self.asked(entry.bid) is None:
                self.request(entry, now)
                left = set(known(entry).items())
                noted = self._surplus.get(entry.bid, {})
                self._note(entry.bid, {item: due for item, due in noted.items() if item in left})
        self._release_inherited(mn_id)

    def overdue(self, now: Instant) -> set[str]:
        """The mobile nodes that have something to withdraw."""
        entries = (self._bindings.get(bid) for bid in self._withdrawals.due(now.monotonic))
        return {entry.mn_id for entry in entries if entry is not None}

    def _note(self, bid: int, surplus: dict[Item, float]) -> None:
        """What is needed no more, and when to withdraw it: not while an FMI is unanswered."""
        self._surplus.pop(bid, None)
        if surplus:
            self._surplus[bid] = surplus
        due = min(surplus.values(), default=math.inf)
        self._withdrawals.set(bid, due if due < math.inf and bid not in self._asked else None)

    def _overdue(self, bid: int, now: Instant) -> set[Item]:
        noted = self._surplus.get(bid, {})
        return {item for item, due in noted.items() if due <= now.monotonic}

    def forget(self, entry: BindingCacheEntry) -> None:
        """The binding is gone, or at another MAG now: nothing is asked of that one any more, and
        the other knows nothing yet."""
        self._believe(entry, FlowMobilitySet())
        self._note(entry.bid, {})
        self._again.discard(entry.bid)
        asked = self._asked.pop(entry.bid, None)
        if asked is not None:
            self.notifier.withdraw(lambda outstanding: outstanding.subject is asked)

    def bequeath(self, ended: BindingCacheEntry) -> None:
        """The session of `ended` is no more. Its prefixes stay the mobile node's where flows to
        them are (RFC 7864 section 3.2.2: in figure 5, the other entry has the prefix, too)."""
        for entry in self._bindings.of(ended.mn_id):
            entry.inherited_prefixes += ended.prefixes + ended.inherited_prefixes
            self._bindings.lend(entry)
        self._release_inherited(ended.mn_id)

    def _release_inherited(self, mn_id: str) -> None:
        """What no flow needs and no MAG has goes, and so does what is of a session again."""
        for entry in self._bindings.of(mn_id):
            kept = self._needed(entry).prefixes + known(entry).prefixes
            asked = self.asked(entry.bid)
            if asked is not None:
                kept += asked.prefixes
            entry.inherited_prefixes = tuple(
                prefix
                for prefix in dict.fromkeys(entry.inherited_prefixes)
                if prefix in kept and not self._bindings.holds(prefix)
            )
            self._bindings.lend(entry)

    def _believe(self, entry: BindingCacheEntry, there: FlowMobilitySet) -> None:
        entry.flow_mobility_prefixes, entry.flow_identifications = there
        self._bindings.lend(entry)

    def _ended(self, outstanding: Iterable[Outstanding]) -> list[Asked]:
        """These are outstanding no more; those of them that are FMIs."""
        found = []
        for ended in outstanding:
            if isinstance(ended.subject, Asked):
                self._asked.pop(ended.subject.bid, None)
                found.append(ended.subject)
            elif isinstance(ended.subject, Forced):
                self._forced.discard(ended.subject)
        return found


def known(entry: BindingCacheEntry) -> FlowMobilitySet:
    """What a binding's MAG is known to have."""
    return FlowMobilitySet(entry.flow_mobility_prefixes, entry.flow_identifications)
