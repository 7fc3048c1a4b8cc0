"""The mobile node: a logical interface over its accesses (RFC 7847), as a pure core.

It takes no part in mobility signalling, but for layer-2 signalling to its MAGs on the interfaces
that are configured for it (`mn_attachment`). It solicits routers when an access comes up, gives the
logical interface an address of every prefix that is advertised on any access, and remembers which
access to use for what. Flows follow the network in the kernel (`kernel.mn_forwarding`), or this
node's flow table, if there is a static policy or the node decides for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from nodes.actions import (
    Action,
    AssignAddress,
    Instant,
    Log,
    Outbox,
    PreferAccess,
    Reply,
    Solicit,
    SteerUplink,
    UseRouter,
)
from nodes.config import MnConfig
from nodes.mn.attachment import MnAttachments
from nodes.mn.duplicate_address_detection import DuplicateAddressDetection
from nodes.mn.flow_table import FlowTable, FlowTableEntry, static_rows
from nodes.neighbour_discovery import RouterAdvertisement

RTR_SOLICITATION_INTERVAL_S = 4.0  # RFC 4861 section 10
MINIMUM_MTU = 1280  # RFC 8200 section 5


@dataclass(slots=True)
class Solicitation:
    remaining: int
    next_at: float


class MobileNode:
    def __init__(self, config: MnConfig, first_sequence: int = 0) -> None:
        """`first_sequence` is that of the first message of layer-2 signalling."""
        self.config = config
        self.prefixes: dict[IPv6Network, str] = {}
        # The accesses that are up and where a prefix was advertised since, the first one first.
        self._advertised: dict[IPv6Network, list[str]] = {}
        self._soliciting: dict[str, Solicitation] = {}
        self._routers: dict[str, tuple[IPv6Address, int]] = {}
        self._up: set[str] = set()
        self.flows = FlowTable()
        if config.uplink == "static":
            for row in static_rows(config.static_policy):
                self.flows.bind(row)
        self._steered: tuple[FlowTableEntry, ...] = ()
        self._outbox = Outbox()
        self._detection = DuplicateAddressDetection(config.host, config.interface_id, self._outbox)
        self.attachments = MnAttachments(config, self._outbox, first_sequence)

    def take_actions(self) -> list[Action]:
        return self._outbox.take()

    def answer(self, token: int, result: object = None, error: str | None = None) -> None:
        self._outbox.put(Reply(token, result, error))

    def timer(self) -> float | None:
        due = [entry.next_at for entry in self._soliciting.values()]
        others = (self.attachments.deadline(), self._detection.deadline())
        return min([*due, *(at for at in others if at is not None)], default=None)

    def link_up(self, interface: str, now: Instant) -> None:
        """An access came up: solicit at once. The random delay of RFC 4861 section 6.3.7 keeps
        hosts of a shared link apart; this link has one host."""
        if interface not in self.config.access_interfaces:
            return
        self._outbox.put(Log("access-up", {"interface": interface}))
        self._up.add(interface)
        self._steer()
        self.attachments.link_up(interface, now)
        self._soliciting[interface] = Solicitation(
            self.config.host.max_rtr_solicitations, now.monotonic
        )
        self.handle_timer(now)

    def link_down(self, interface: str, now: Instant) -> None:
        """Addresses stay on the logical interface: a session survives its access."""
        if interface in self.config.access_interfaces:
            self.attachments.link_down(interface)
            self._soliciting.pop(interface, None)
            self._routers.pop(interface, None)
            self._outbox.put(Log("access-down", {"interface": interface}))
            self._up.discard(interface)
            self._steer()
            for prefix in self._advertised:
                self._lost(prefix, interface)

    def bind_flow(self, entry: FlowTableEntry) -> None:
        """This node's own decision: the flow leaves through that access from now on. Raises
        ValueError if the node doesn't decide, or the row is wrong; nothing has changed then."""
        if self.config.uplink != "own":
            raise ValueError(f'uplink is "{self.config.uplink}"; this mobile node doesn\'t decide')
        if entry.interface not in self.config.access_interfaces:
            known = ", ".join(self.config.access_interfaces)
            raise ValueError(f"to is {entry.interface!r}; expected one of {known}")
        self.flows.bind(entry)
        details = {"fid": entry.fid, "to": entry.interface}
        self._outbox.put(Log("decision", details))
        self._steer()

    def unbind_flow(self, fid: int) -> None:
        """Raises ValueError if there is no such flow."""
        self.flows.unbind(fid)
        self._steer()

    def _steer(self) -> None:
        """Rows whose access is down don't count: their packets take the way of all others."""
        rows = tuple(row for row in self.flows.rows() if row.interface in self._up)
        if rows != self._steered:
            self._steered = rows
            self._outbox.put(SteerUplink(rows))

    def handle_timer(self, now: Instant) -> None:
        self.attachments.handle_timer(now)
        for prefix, interface in self._detection.handle_timer(now):
            if not self.config.host.optimistic:
                self._assign(prefix, interface)
        for interface, entry in list(self._soliciting.items()):
            if entry.next_at > now.monotonic:
                continue
            if entry.remaining == 0:
                del self._soliciting[interface]
                continue
            entry.remaining -= 1
            entry.next_at = now.monotonic + RTR_SOLICITATION_INTERVAL_S
            self._outbox.put(Solicit(interface))

    def router_advertised(
        self,
        interface: str,
        router: IPv6Address,
        advertisement: RouterAdvertisement,
        now: Instant,
    ) -> None:
        """RFC 4861 section 6.3.4 and RFC 4862 section 5.5.3, for the logical interface."""
        if interface not in self.config.access_interfaces:
            return
        mtu = max(advertisement.mtu or 0, MINIMUM_MTU)
        if advertisement.router_lifetime_s == 0:
            self._routers.pop(interface, None)  # not, or no longer, a default router
        else:
            self._soliciting.pop(interface, None)
        if advertisement.router_lifetime_s and self._routers.get(interface) != (router, mtu):
            self._routers[interface] = (router, mtu)
            self._outbox.put(UseRouter(interface, router, mtu))
            self._outbox.put(
                Log("router", {"interface": interface, "address": str(router), "mtu": mtu})
            )
        for information in advertisement.prefixes:
            prefix = information.prefix
            if information.valid_lifetime_s == 0:
                # The address stays, and leaves over an access where the prefix is still there.
                self._lost(prefix, interface)
                continue
            if not information.autonomous or prefix.prefixlen != 64 or prefix.is_link_local:
                continue
            accesses = self._advertised.setdefault(prefix, [])
            if interface not in accesses:
                accesses.append(interface)
            if prefix in self.prefixes:
                self._prefer(prefix)
                continue
            self.prefixes[prefix] = interface
            probed = self.config.host.dup_addr_detect_transmits > 0
            if not probed or self.config.host.optimistic:
                self._assign(prefix, interface)
            self._outbox.put(PreferAccess(prefix, interface))
            if probed:
                self._detection.begin(prefix, interface, now)

    def neighbour_advertised(self, interface: str, target: IPv6Address) -> None:
        """Somebody has an address that is being probed: RFC 4862 section 5.4.5 has it not used.
        One that is used optimistically stays, for who probes it is the only one to have the prefix
        (RFC 5213 section 6.8)."""
        prefix = self._detection.advertised(target, interface)
        if prefix is not None:
            details = {"interface": interface, "prefix": str(prefix)}
            self._outbox.put(Log("duplicate-address", details))

    def _assign(self, prefix: IPv6Network, interface: str) -> None:
        self._outbox.put(AssignAddress(prefix))
        self._outbox.put(Log("address", {"interface": interface, "prefix": str(prefix)}))

    def _lost(self, prefix: IPv6Network, interface: str) -> None:
        """A prefix is advertised on an access no more."""
        accesses = self._advertised.get(prefix, [])
        if interface in accesses:
            accesses.remove(interface)
            self._prefer(prefix)

    def _prefer(self, prefix: IPv6Network) -> None:
        """After a handover, packets from a prefix leave where it is advertised now. An access stays
        preferred as long as it is up, and as no other has the prefix (RFC 7847 section 3.2)."""
        accesses = self._advertised[prefix]
        if accesses and self.prefixes[prefix] not in accesses:
            self.prefixes[prefix] = accesses[0]
            self._outbox.put(PreferAccess(prefix, accesses[0]))
