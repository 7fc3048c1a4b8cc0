"""When a MAG advertises what on its access links (RFC 4861 section 6.2, RFC 5213 sections 6.7,
6.9.2 and 6.12).

One mobile node a link, so an answer to its solicitation is for it alone and needs no rate limit;
what goes to all nodes keeps MinDelayBetweenRAs.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Advertise, Instant, Outbox
from nodes.config import AccessProfile, MagConfig
from nodes.mag.binding_update_list import BindingUpdateListEntry
from nodes.neighbour_discovery import ALL_NODES, PrefixInformation, RouterAdvertisement

# A withdrawn prefix is told about in this many advertisements: one may be lost. RFC 4861 section 10
# has the same number for a router that goes (MAX_FINAL_RTR_ADVERTISEMENTS).
WITHDRAWALS = 3


@dataclass(slots=True)
class _Link:
    """`entry` is None while nothing is advertised but withdrawals. `unsolicited_at` and
    `answer_at` are when the next of each is due, `multicast_at` when the last to all nodes was
    sent; monotonic, in s. `host` is the mobile node, if its address is known. `solicited_by` waits
    for its answer; ALL_NODES: for one to all nodes."""

    entry: BindingUpdateListEntry | None = None
    profile: AccessProfile | None = None
    host: IPv6Address | None = None
    router: IPv6Address | None = None
    lma: IPv6Address | None = None
    prefixes: tuple[IPv6Network, ...] = ()
    initial: int = 0
    unsolicited_at: float | None = None
    answer_at: float | None = None
    multicast_at: float | None = None
    solicited_by: IPv6Address | None = None


class RouterAdvertiser:
    def __init__(self, config: MagConfig, rng: random.Random, outbox: Outbox) -> None:
        self._config = config
        self._variables = config.router
        self._rng = rng
        self._outbox = outbox
        self._links: dict[str, _Link] = {}
        self._withdrawn: dict[str, dict[IPv6Network, int]] = {}

    def deadline(self) -> float | None:
        """Monotonic time (s) at which `handle_timer` wants to be called."""
        due = [at for link in self._links.values() for at in (link.unsolicited_at, link.answer_at)]
        return min((at for at in due if at is not None), default=None)

    def registered(self, entry: BindingUpdateListEntry, now: Instant) -> None:
        """The registration is complete, or was renewed: `entry.prefixes` are advertised. The node
        is told at once of anything that is new to it (RFC 5213 section 6.9.1.2, step 14)."""
        link = self._links.setdefault(entry.interface, _Link())
        router = self._router(entry)
        same = link.entry is entry and (link.prefixes, link.router) == (entry.prefixes, router)
        if same:
            return
        self._withdraw(entry.interface, link.prefixes, entry.prefixes)
        link.entry, link.profile, link.router, link.lma = entry, entry.profile, router, entry.lma
        link.prefixes, link.host = entry.prefixes, entry.mn_link_local
        if self._variables.advertise_at_once:
            self._tell(entry.interface, link, now)
        else:
            # As if it had come between two of those that are sent unasked.
            self._schedule(entry.interface, link, now)
            assert link.unsolicited_at is not None
            wait = link.unsolicited_at - now.monotonic
            link.unsolicited_at = now.monotonic + self._rng.uniform(0, wait)
            host, link.solicited_by = link.solicited_by, None
            if host is not None:
                self.solicited(entry.interface, host, now)

    def lost(self, interface: str, now: Instant) -> None:
        """There is no registration any more, and the node may still be there: no prefix, no
        router."""
        link = self._links.get(interface)
        if link is None or link.entry is None:
            return
        self._withdraw(interface, link.prefixes, ())
        link.entry, link.prefixes = None, ()
        self._tell(interface, link, now)

    def link_lost(self, interface: str) -> None:
        """Nobody is there. What was sent to all nodes still counts, should the node return."""
        self._withdrawn.pop(interface, None)
        link = self._links.get(interface)
        if link is not None:
            self._links[interface] = _Link(multicast_at=link.multicast_at)

    def changed(self, interface: str, now: Instant) -> None:
        """A parameter that advertisements carry has another value (RFC 5213 section 6.9.5)."""
        link = self._links.get(interface)
        if link is not None and link.entry is not None:
            self._tell(interface, link, now)

    def solicited(self, interface: str, host: IPv6Address, now: Instant) -> None:
        """A Router Solicitation; `host` is who to answer, ALL_NODES if nobody can be told by its
        address. It is answered when there is a registration (RFC 5213 section 6.9.2)."""
        link = self._links.setdefault(interface, _Link())
        if link.solicited_by is not None and host == ALL_NODES:
            return
        link.solicited_by = host
        if link.entry is None or link.answer_at is not None:
            return
        most = self._variables.max_ra_delay_time_ms / 1000
        delay = self._rng.uniform(0, most) if most else 0.0
        if host == ALL_NODES:
            at = max(now.monotonic + delay, self._multicast_allowed_at(link))
            if link.unsolicited_at is not None and link.unsolicited_at <= at:
                # RFC 4861 section 6.2.6: that one answers it.
                link.solicited_by = None
                return
            link.unsolicited_at = at
        else:
            link.answer_at = now.monotonic + delay
        self.handle_timer(now)

    def handle_timer(self, now: Instant) -> None:
        for interface, link in self._links.items():
            if link.answer_at is not None and link.answer_at <= now.monotonic:
                self._answer(interface, link)
            if link.unsolicited_at is not None and link.unsolicited_at <= now.monotonic:
                self._multicast(interface, link, now)

    def _tell(self, interface: str, link: _Link, now: Instant) -> None:
        """Something changed. A node that waits for an answer gets it now: it has waited for longer
        than the random delay is for. Others get it now, too, by their own address if all nodes
        were told something a moment ago."""
        link.initial = 0
        if link.solicited_by is not None and link.entry is not None:
            host = link.solicited_by
        elif self._multicast_allowed_at(link) > now.monotonic and link.host is not None:
            host = link.host
        else:
            host = ALL_NODES
        if host == ALL_NODES:
            link.unsolicited_at = max(now.monotonic, self._multicast_allowed_at(link))
            self.handle_timer(now)
            return
        link.answer_at = link.solicited_by = None
        self._send(interface, link, host)
        self._schedule(interface, link, now)

    def _answer(self, interface: str, link: _Link) -> None:
        host = link.solicited_by
        link.answer_at = link.solicited_by = None
        if host is not None:
            self._send(interface, link, host)

    def _multicast(self, interface: str, link: _Link, now: Instant) -> None:
        link.solicited_by = link.answer_at = None
        self._send(interface, link, ALL_NODES)
        link.multicast_at = now.monotonic
        self._schedule(interface, link, now)

    def _schedule(self, interface: str, link: _Link, now: Instant) -> None:
        """The next unsolicited one, if there is anything to tell."""
        link.unsolicited_at = None
        if link.entry is not None or self._withdrawn.get(interface):
            link.unsolicited_at = now.monotonic + self._interval(link)

    def _interval(self, link: _Link) -> float:
        """RFC 4861 section 6.2.4. Withdrawals without anything else are repeated as soon as may
        be (6.2.5)."""
        if link.entry is None:
            return self._variables.min_delay_between_ras_ms / 1000
        least, most = self._variables.min_interval_s, self._variables.max_rtr_adv_interval_s
        interval = self._rng.uniform(least, most)
        link.initial += 1
        if link.initial < self._variables.max_initial_rtr_advertisements:
            interval = min(interval, self._variables.max_initial_rtr_advert_interval_s)
        return max(interval, self._variables.min_delay_between_ras_ms / 1000)

    def _multicast_allowed_at(self, link: _Link) -> float:
        if link.multicast_at is None:
            return 0.0
        return link.multicast_at + self._variables.min_delay_between_ras_ms / 1000

    def _withdraw(
        self,
        interface: str,
        before: tuple[IPv6Network, ...],
        after: tuple[IPv6Network, ...],
    ) -> None:
        withdrawn = self._withdrawn.setdefault(interface, {})
        for prefix in after:
            withdrawn.pop(prefix, None)
        for prefix in before:
            if prefix not in after:
                withdrawn[prefix] = WITHDRAWALS

    def _send(self, interface: str, link: _Link, destination: IPv6Address) -> None:
        """Only on-link prefixes: those with the L bit MUST NOT be advertised (RFC 7864 4.1)."""
        assert link.profile is not None
        assert link.router is not None
        assert link.lma is not None
        variables, profile = self._variables, link.profile
        withdrawn = self._withdrawn.get(interface, {})
        valid = variables.adv_valid_lifetime_s
        if profile.prefix_lifetime_s is not None:
            valid = profile.prefix_lifetime_s
        stateless = profile.address_configuration != "stateful"
        options = [
            PrefixInformation(
                prefix, True, stateless, valid, min(variables.adv_preferred_lifetime_s, valid)
            )
            for prefix in link.prefixes
        ] + [PrefixInformation(prefix, True, stateless, 0, 0) for prefix in withdrawn]
        address = self._config.fixed_link_layer_address
        advertisement = RouterAdvertisement(
            router_lifetime_s=0 if link.entry is None else variables.router_lifetime_s,
            prefixes=tuple(options),
            source_link_layer_address=address if any(address) else None,
            hop_limit=variables.adv_cur_hop_limit,
            managed=profile.address_configuration != "stateless",
            reachable_time_ms=variables.adv_reachable_time_ms,
            retrans_timer_ms=variables.adv_retrans_timer_ms,
        )
        for prefix in list(withdrawn):
            withdrawn[prefix] -= 1
            if not withdrawn[prefix]:
                del withdrawn[prefix]
        self._outbox.put(Advertise(interface, advertisement, link.router, destination, link.lma))

    def _router(self, entry: BindingUpdateListEntry) -> IPv6Address | None:
        fixed = self._config.fixed_mag_link_local_address_on_all_access_links
        return entry.link_local if fixed.is_unspecified else fixed
