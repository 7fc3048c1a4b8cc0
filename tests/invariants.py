"""The invariants of docs/invariants.md, checked on a `World` (`tests.world`).

What a node believes is compared with what others were told and what its kernel does; nothing here
repeats how a core comes to its state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Network
from typing import Any

from nodes.actions import Action, Advertise, Log, Send
from nodes.flow_mobility_cache import FlowAction
from nodes.lma.binding_cache import BindingCacheEntry
from nodes.lma.stable_storage import Kept
from nodes.mag.binding_update_list import Registration
from nodes.mn.attachment import AttachmentState
from nodes.wire.messages import BindingError, ProxyBindingAcknowledgement
from nodes.wire.options import HomeNetworkPrefix, MobileNodeIdentifier
from tests.domain import LMA
from tests.packets import down, packet_to, up
from tests.world import Arrived, Started, World
from tests.world_plan import MAGS, MOBILE_NODES, PORTS

MIN_DELAY_BEFORE_BCE_DELETE_S = 10.0


@dataclass
class _Promise:
    """What the LMA granted with a binding, and until when it has to keep to it."""

    mn_id: str
    prefixes: frozenset[str]
    until: float


@dataclass
class Ledger:
    """Follows what LMA and MAGs say and are told, and objects to what contradicts it."""

    world: World
    promises: dict[int, _Promise] = field(default_factory=dict)
    given: dict[tuple[str, str], set[IPv6Network]] = field(default_factory=dict)
    _granting: int | None = None

    def watch(self, name: str, what: Action | Arrived | Started) -> None:
        match what:
            case Started():
                if name == "lma":
                    self._remembered()
                self.given = {key: nets for key, nets in self.given.items() if key[0] != name}
            case Arrived(message=BindingError()) if name == "lma":
                self._revoked()
            case Arrived(source, ProxyBindingAcknowledgement() as message):
                if source == LMA and message.accepted:
                    self._told(name, message)
            case Log(event, details) if name == "lma":
                self._said(event, details)
            case Send(message=ProxyBindingAcknowledgement() as message) if name == "lma":
                if self._granting is not None:
                    self.promises[self._granting].until = self.world.seconds + message.lifetime * 4
                    self._granting = None
            case Advertise():
                self._advertised(name, what)

    def _remembered(self) -> None:
        """The LMA goes on from its disk: what it said last may not have been heard."""
        self._granting = None
        kept = Kept.of(self.world.disk).bindings if self.world.disk else []
        self.promises = {
            record.bid: _Promise(
                record.mn_id,
                frozenset(record.prefixes),
                record.expires if record.deletion is None else record.deletion,
            )
            for record in kept
        }

    def _told(self, name: str, message: ProxyBindingAcknowledgement) -> None:
        identifier = message.option(MobileNodeIdentifier)
        if identifier is not None:
            known = self.given.setdefault((name, identifier.nai), set())
            options = message.all_options(HomeNetworkPrefix)
            known |= {option.prefix for option in options if not option.off_link}

    def _said(self, event: str, details: dict[str, Any]) -> None:
        now = self.world.seconds
        match event:
            case "registered" | "extended" | "handed-off":
                bid, mn_id, prefixes = details["bid"], details["mn"], set(details["prefixes"])
                for other in self.promises.values():
                    both = prefixes & other.prefixes
                    assert not both or other.mn_id == mn_id, f"{both}: of {other} and {mn_id}"
                self.promises[bid] = _Promise(mn_id, frozenset(prefixes), now)
                self._granting = bid
            case "deregistered":
                self.promises[details["bid"]].until = now + MIN_DELAY_BEFORE_BCE_DELETE_S
            case "peer-restarted":
                for promise in self.promises.values():
                    limit = now + MIN_DELAY_BEFORE_BCE_DELETE_S
                    promise.until = min(promise.until, limit)
            case "bra-received" | "bri-expired":
                self._revoked()
            case "binding-deleted":
                gone = self.promises.pop(details["bid"])
                assert gone.until <= now + 1e-6, f"{gone}: deleted at {now}"

    def _revoked(self) -> None:
        """Bindings may end now, and this doesn't say which."""
        for promise in self.promises.values():
            promise.until = min(promise.until, self.world.seconds)

    def _advertised(self, name: str, action: Advertise) -> None:
        port = action.interface
        told = self.given.get((name, PORTS[port].mn_id), set())
        assert set(action.prefixes) <= told, "a MAG never advertises an L=1 prefix"
        hosted = {net for other, net in self.world.nodes[name].kernel.hosted if other == port}
        assert set(action.prefixes) <= hosted, "what is advertised is routed"


def _check_disk(world: World) -> None:
    """Starting again now would be starting with what the LMA knows."""
    assert world.lma is not None
    written, known = Kept.of(world.disk), Kept.of(world.lma.core.storage.everything())
    assert written.numbers == known.numbers
    for kind in ("bindings", "rows", "orders", "peers"):
        kept, there = getattr(written, kind), getattr(known, kind)
        assert sorted(map(repr, kept)) == sorted(map(repr, there)), f"{kind} are on disk"


def check(world: World) -> None:
    """What holds at any time, whatever came."""
    if world.lma is not None and world.plan.sessions:
        _check_disk(world)
    if world.lma is not None:
        _check_prefixes(world)
        _check_default_path(world)
        _check_flows(world)
    for name, _ in world.mags():
        _check_mag(world, name)
    for name, node in world.nodes.items():
        due = node.core.timer()
        assert due is None or due >= world.seconds - 1e-6, f"{name} was to be woken before now"


def _bindings(world: World) -> list[BindingCacheEntry]:
    assert world.lma is not None
    return list(world.lma.core.bindings)


def _routed(entry: BindingCacheEntry) -> tuple[IPv6Network, ...]:
    return entry.prefixes + entry.flow_mobility_prefixes


def _all_of(entry: BindingCacheEntry) -> tuple[IPv6Network, ...]:
    """Also those of ended sessions, which stay for flows that are there (RFC 7864 figure 5)."""
    return _routed(entry) + entry.inherited_prefixes


def _check_prefixes(world: World) -> None:
    owners: dict[IPv6Network, str] = {}
    for entry in _bindings(world):
        for prefix in _all_of(entry):
            assert owners.setdefault(prefix, entry.mn_id) == entry.mn_id, "one owner per prefix"


def _check_default_path(world: World) -> None:
    assert world.lma is not None
    kernel, bindings = world.lma.kernel, _bindings(world)
    holders: dict[IPv6Network, list[BindingCacheEntry]] = {}
    lent: dict[IPv6Network, list[BindingCacheEntry]] = {}
    for entry in sorted(bindings, key=lambda entry: (entry.bid_priority, entry.bid)):
        for prefix in entry.prefixes:
            holders.setdefault(prefix, []).append(entry)
        for prefix in entry.flow_mobility_prefixes + entry.inherited_prefixes:
            lent.setdefault(prefix, []).append(entry)
    wanted = {
        prefix: next((e.proxy_coa for e in entries if e.registered and prefix in _routed(e)), None)
        for prefix, entries in {**lent, **holders}.items()
    }
    assert kernel.routes == wanted, "routes follow the binding cache"
    assert kernel.tunnels >= {entry.proxy_coa for entry in bindings if entry.registered}
    assert kernel.tunnels <= {entry.proxy_coa for entry in bindings}, "no tunnel without a use"
    sources = {
        (entry.proxy_coa, prefix)
        for entry in bindings
        for other in bindings
        if other.mn_id == entry.mn_id
        for prefix in _all_of(other)
    }
    assert kernel.sources == sources, "a MAG sends for its own mobile nodes only"
    deciding = {
        mn_id
        for mn_id, policy in zip(MOBILE_NODES, world.plan.policies, strict=True)
        if policy.decision_maker == "mn"
    }
    watched = {prefix for e in bindings if e.mn_id in deciding for prefix in e.prefixes}
    assert kernel.watched == watched, "the LMA follows those who decide"


def _check_flows(world: World) -> None:
    assert world.lma is not None
    core, kernel = world.lma.core, world.lma.kernel
    bindings = {entry.bid: entry for entry in _bindings(world)}
    at_work: set[int] = set()
    for mn_id, row in core.flows.cache.all_rows():
        named = [bindings[bid] for bid in row.bids if bid in bindings]
        live = [entry for entry in named if entry.registered and entry.mn_id == mn_id]
        assert row.active is bool(live), f"{mn_id} {row}: active, if and only if it has a binding"
        own = {
            prefix
            for entry in bindings.values()
            if entry.mn_id == mn_id
            for prefix in _all_of(entry)
        }
        policy = world.plan.policies[MOBILE_NODES.index(mn_id)]
        for key, flow in kernel.flows.items():
            path = kernel.targets.get(key)
            if flow.entry.fid != row.fid or not path or not own & set(flow.prefixes):
                continue
            at_work.add(key)
            assert set(flow.prefixes) <= own, "of its own mobile node's packets only"
            assert set(path) == {entry.proxy_coa for entry in live}, "no more and no fewer copies"
            assert flow.entry.selector == row.selector
            assert flow.entry.action == row.action
            for entry in live:
                early = policy.switch == "on-send" or row.action is FlowAction.DROP
                assert early or set(flow.prefixes) <= set(_routed(entry)), (
                    "packets go where they are routed on"
                )
    working = {key for key, path in kernel.targets.items() if path}
    assert working == at_work, "no flow is steered without a row"


def _check_mag(world: World, name: str) -> None:
    node = world.nodes[name]
    bindings, kernel = node.core.bindings, node.kernel
    hosted = {(port, net) for port, entry in bindings.items() for net in entry.hosted}
    assert kernel.hosted == hosted, "routes are those of the binding update list"
    for port, entry in bindings.items():
        served = entry.prefixes + entry.off_link_prefixes
        if entry.state is Registration.REGISTERED:
            assert not set(entry.prefixes) & set(entry.off_link_prefixes), "on-link or off-link"
            assert set(entry.hosted) == set(served)
            assert entry.expires_at is not None
            assert entry.expires_at > world.seconds - 1e-6, "no service after the lifetime"
        if entry.state in (Registration.REJECTED, Registration.DEREGISTERING):
            assert not entry.hosted, "no service"
        if world.plan.detection == "link" and entry.state is not Registration.DEREGISTERING:
            assert world.links.get(port) == name, "a node that isn't there isn't served"
    assert kernel.tunnels == ({LMA} if any(e.tunnel for e in bindings.values()) else set())


def check_quiet(world: World) -> None:
    """What holds besides once all nodes run, nothing was lost for long, and nobody did anything."""
    assert not world.asked, "every request is answered"
    assert world.lma is not None
    served = {
        (entry.mn_id, bytes(entry.link_layer_id), MAGS[name]): entry
        for name, node in world.mags()
        for entry in node.core.bindings.values()
        if entry.state is Registration.REGISTERED
    }
    registered = {
        (entry.mn_id, bytes(entry.link_layer_id), entry.proxy_coa): entry
        for entry in _bindings(world)
        if entry.registered
    }
    assert registered.keys() <= served.keys(), "MAGs know the bindings of the LMA"
    more = {key for key in served if key not in registered and key[0] not in world.contested}
    assert not more, "the LMA knows those of the MAGs"
    for key, entry in registered.items():
        other = served[key]
        assert set(other.prefixes) == set(entry.prefixes)
        assert set(other.off_link_prefixes) == set(entry.flow_mobility_prefixes)
        assert other.profile.access_technology == entry.access_technology
    for name, node in world.mags():
        for entry in node.core.bindings.values():
            settled = (Registration.REGISTERED, Registration.REJECTED)
            assert entry.state in settled, f"{name} {entry.interface}: for ever {entry.state}"
    _check_flows_at_rest(world)
    _check_mobile_nodes(world)
    _check_packets(world)


def _check_flows_at_rest(world: World) -> None:
    """Flows are where their rows say if all MAGs there have their prefixes, and MAGs have no others
    than flows, or the policy, need."""
    assert world.lma is not None
    core, kernel = world.lma.core, world.lma.kernel
    bindings = {entry.bid: entry for entry in _bindings(world)}
    needed: dict[int, set[IPv6Network]] = {bid: set() for bid in bindings}
    steered = {
        (flow.entry.fid, frozenset(path))
        for key, path in kernel.targets.items()
        for flow in (kernel.flows[key],)
    }
    for mn_id, row in core.flows.cache.all_rows():
        live = [bindings[bid] for bid in row.bids if bid in bindings and bindings[bid].registered]
        if not live or row.action is FlowAction.DROP:
            continue
        own = {prefix for e in bindings.values() if e.mn_id == mn_id for prefix in _all_of(e)}
        port = row.selector.start_destination_port or 9
        addressed = {net for net in own if row.selector.matches(packet_to(net, port))}
        for entry in live:
            needed[entry.bid] |= addressed
        if any(all(net in _routed(entry) for entry in live) for net in addressed):
            wanted = (row.fid, frozenset(entry.proxy_coa for entry in live))
            assert wanted in steered, f"{mn_id} {row}: isn't where it was ordered to"
    for entry in bindings.values():
        policy = world.plan.policies[MOBILE_NODES.index(entry.mn_id)]
        if policy.prefix_delivery == "on-move":
            left = set(entry.flow_mobility_prefixes) - needed[entry.bid]
            assert not left, f"{entry}: {left} are of no use any more"


def _check_mobile_nodes(world: World) -> None:
    for name, port in PORTS.items():
        host = world.nodes[port.mn_id]
        mag = world.links.get(name)
        entry = None if mag is None else world.nodes[mag].core.bindings.get(name)
        up = entry is not None and entry.state is Registration.REGISTERED
        if up:
            assert set(entry.prefixes) <= host.kernel.prefixes, "the node has its addresses"
        if world.plan.layer_2:
            state = host.core.attachments.interfaces[name].state
            assert state is not AttachmentState.REQUESTED, "nobody waits for ever"
            assert mag is not None or state is AttachmentState.DETACHED


def _check_packets(world: World) -> None:
    """End to end: what is sent to a mobile node arrives there and nowhere else, and answers come
    back."""
    assert world.lma is not None
    core, kernel = world.lma.core, world.lma.kernel
    for entry in _bindings(world):
        for prefix in entry.prefixes if entry.registered else ():
            if entry.mn_id not in world.contested:
                _leaves(world, entry.mn_id, prefix)
            packet = packet_to(prefix, 9)
            if core.flows.cache.match(entry.mn_id, packet) is None:
                _arrives(world, entry.mn_id, packet)
    for key, path in kernel.targets.items():
        flow = kernel.flows[key]
        port = flow.entry.selector.start_destination_port
        if path and flow.entry.action is FlowAction.FORWARD:
            mn_id = next(e.mn_id for e in _bindings(world) if flow.prefixes[0] in _all_of(e))
            packet = packet_to(flow.prefixes[0], port or 9)
            if core.flows.cache.match(mn_id, packet).action is FlowAction.FORWARD:
                _arrives(world, mn_id, packet)


def _leaves(world: World, mn_id: str, prefix: IPv6Network) -> None:
    """What a mobile node sends of itself, not in answer to anything, isn't dropped: unless it goes
    where a MAG has forgotten that the prefix was there, which nothing has told the node."""
    packet, host = packet_to(prefix, 7), world.nodes[mn_id].kernel
    port = host.way_out(packet)
    if not host.own and (port is None or prefix in world.told.get(port, ())):
        assert up(world, mn_id, packet), f"{mn_id} is cut off with {prefix}"


def _arrives(world: World, mn_id: str, packet: Any) -> None:
    ports = down(world, packet)
    assert ports, f"{packet.destination} isn't reached"
    assert {PORTS[port].mn_id for port in ports} == {mn_id}, "nobody gets another's packets"
    if not world.nodes[mn_id].kernel.own:
        assert up(world, mn_id, packet), f"nothing comes back from {packet.destination}"
