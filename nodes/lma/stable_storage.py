"""The LMA's sessions on stable storage: what to write of them after each input, and starting again
with what was written.

What changed is given out before anything that follows from it is done (write-ahead), so that at
every instant the record is at least as far as the kernel and the peers are. After a restart the
kernel is made to agree with the record, and what may not have been sent is sent again; requests
that were not answered come again from whoever waits (RFC 5213 section 6.9.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import NamedTuple

from nodes.config import LmaConfig
from nodes.heartbeat import HeartbeatExchange
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_recovery import FlowRecovery
from nodes.lma.path_hold import PathHolds
from nodes.lma.revocation_indications import RevocationIndications
from nodes.lma.session_records import (
    BindingGone,
    BindingRecord,
    Numbers,
    OrdersRecord,
    PeerRecord,
    Record,
    RowGone,
    RowRecord,
)

Name = tuple[str | int, ...]


class StableStorage:
    def __init__(
        self,
        bindings: BindingCache,
        flows: FlowRecovery,
        indications: RevocationIndications,
        heartbeats: HeartbeatExchange,
        holds: PathHolds,
    ) -> None:
        self._bindings = bindings
        self._flows = flows
        self._indications = indications
        self._heartbeats = heartbeats
        self._holds = holds
        self._written: Numbers | None = None

    def changes(self) -> tuple[Record, ...]:
        """The records of what changed since the last call; none if nothing did."""
        records: list[Record] = [BindingGone(bid) for bid in sorted(self._bindings.gone)]
        touched = sorted(self._bindings.touched)
        for mn_id in touched:
            records += [self._flows.binding(entry) for entry in self._bindings.of(mn_id)]
        records += self._flows.touched_rows()
        records += self._flows.touched_orders(touched)
        records += [self._peer(peer) for peer in sorted(self._heartbeats.touched)]
        self.forget()
        numbers = self._numbers()
        if numbers != self._written:
            self._written = numbers
            records.append(numbers)
        return tuple(records)

    def everything(self) -> tuple[Record, ...]:
        """The records that are the whole of it."""
        return (
            *(self._flows.binding(entry) for entry in self._bindings),
            *self._flows.rows(),
            *self._flows.all_orders(),
            *(self._peer(peer) for peer in sorted(self._heartbeats.restart_counters)),
            self._numbers(),
        )

    def restore(self, records: Iterable[Record], config: LmaConfig) -> list[BindingCacheEntry]:
        """Be what the records say, but for mobile nodes and MAGs that the configuration doesn't
        have any more, whose bindings are returned. For an LMA that knows nothing yet."""
        kept = Kept.of(records)
        dropped = []
        for record in kept.bindings:
            entry = record.entry()
            authorized = entry.proxy_coa in config.authorized_mags
            if entry.mn_id in config.mobile_nodes and authorized:
                self._bindings.add(entry)
            else:
                dropped.append(entry)
        bids = {entry.bid for entry in self._bindings}
        self._flows.restore(
            [record for record in kept.bindings if record.bid in bids],
            [record for record in kept.rows if record.mn_id in config.mobile_nodes],
            [record for record in kept.orders if record.mn_id in config.mobile_nodes],
            kept.numbers,
        )
        self._bindings.next_bid = kept.numbers.next_bid
        self._indications.numbers.next = kept.numbers.next_revocation
        self._heartbeats.next_sequence = kept.numbers.next_heartbeat
        self._holds.holds = kept.numbers.holds
        for peer in kept.peers:
            state = (peer.restart_counter, peer.heard)
            self._heartbeats.restart_counters[IPv6Address(peer.address)] = state
        return dropped

    def forget(self) -> None:
        """What changed until now isn't asked for."""
        self._bindings.touched.clear()
        self._bindings.gone.clear()
        self._heartbeats.touched.clear()
        self._flows.forget()

    def _peer(self, peer: IPv6Address) -> PeerRecord:
        return PeerRecord(str(peer), *self._heartbeats.restart_counters[peer])

    def _numbers(self) -> Numbers:
        return Numbers(
            next_bid=self._bindings.next_bid,
            next_key=self._flows.forwarding.next_key,
            next_notification=self._flows.numbers.next,
            next_revocation=self._indications.numbers.next,
            next_heartbeat=self._heartbeats.next_sequence,
            moves=self._flows.orders.moves,
            holds=self._holds.holds,
        )


class Kept(NamedTuple):
    """What is left of records when the newer have replaced the older."""

    bindings: list[BindingRecord]
    rows: list[RowRecord]
    orders: list[OrdersRecord]
    peers: list[PeerRecord]
    numbers: Numbers

    @staticmethod
    def of(records: Iterable[Record]) -> Kept:
        """Raises ValueError if they aren't whole."""
        found: dict[Name, Record] = {}
        for record in records:
            match record:
                case BindingRecord(bid=bid):
                    found["binding", bid] = record
                case BindingGone(bid=bid):
                    found.pop(("binding", bid), None)
                case RowRecord(mn_id=mn_id, fid=fid):
                    found["row", mn_id, fid] = record
                case RowGone(mn_id=mn_id, fid=fid):
                    found.pop(("row", mn_id, fid), None)
                case OrdersRecord(mn_id=mn_id):
                    found["orders", mn_id] = record
                case PeerRecord(address=address):
                    found["peer", address] = record
                case Numbers():
                    found["numbers",] = record
        numbers = found.get(("numbers",))
        if not isinstance(numbers, Numbers):
            raise ValueError("no numbers to go on with; expected a record of them")
        kept = found.values()
        return Kept(
            [record for record in kept if isinstance(record, BindingRecord)],
            [record for record in kept if isinstance(record, RowRecord)],
            [record for record in kept if isinstance(record, OrdersRecord) and record.orders],
            [record for record in kept if isinstance(record, PeerRecord)],
            numbers,
        )
