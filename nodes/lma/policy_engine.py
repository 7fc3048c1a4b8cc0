"""Policies at work: the LMA shows them what changed, and carries out what they order.

Policies decide for a mobile node only if the LMA does (RFC 7864 section 3.1: the decision is taken
by the MN or by the LMA, never by both), which the configuration checks.
"""

from __future__ import annotations

from nodes.actions import NOBODY, Instant, Log, Outbox
from nodes.config import LmaConfig
from nodes.lma.binding_cache import BindingCache, BindingCacheEntry
from nodes.lma.flow_mobility import FlowMobility
from nodes.lma.path_changes import PathChanges
from nodes.lma.policies import make_policy
from nodes.lma.policies.base import AddFlow, BindingView, MobileNodeView, MoveFlow, Order, Policy
from nodes.wire.options import UNKNOWN_DELAY, UNKNOWN_PERCENT


class PolicyEngine:
    """Raises InputError if a policy's settings are wrong."""

    def __init__(
        self,
        config: LmaConfig,
        bindings: BindingCache,
        flows: FlowMobility,
        paths: PathChanges,
        outbox: Outbox,
    ) -> None:
        self._bindings = bindings
        self._flows = flows
        self._paths = paths
        self._outbox = outbox
        self._seen: dict[str, MobileNodeView] = {}
        # Elsewhere a flow has rules only while it isn't where its tunnel leads, or none.
        counted = config.data_plane == "sdn-core"
        self._policies: dict[str, list[Policy]] = {
            mn_id: [
                make_policy(settings, f"mobile_nodes.{mn_id}.policies[{index}]", counted=counted)
                for index, settings in enumerate(policy.policies)
            ]
            for mn_id, policy in config.mobile_nodes.items()
            if policy.policies
        }

    def evaluate(self, now: Instant) -> None:
        """Let the policies of every mobile node that changed, or whose time has come, decide; but
        only while what they order can be done."""
        if self._paths.refusal() is not None:
            return
        for mn_id, policies in self._policies.items():
            # An order changes the view; the bound ends what policies that disagree would not.
            for _ in range(len(policies) + 1):
                view = self._view(mn_id)
                due = any(_due(policy, now) for policy in policies)
                if view == self._seen.get(mn_id) and not due:
                    break
                self._seen[mn_id] = view
                orders = [
                    order for policy in policies for order in policy.decide(view, now.monotonic)
                ]
                for order in orders:
                    self._carry_out(mn_id, order, now)
                if not orders:
                    break

    def deadline(self) -> float | None:
        if self._paths.refusal() is not None:
            return None
        deadlines = [policy.deadline() for some in self._policies.values() for policy in some]
        return min((due for due in deadlines if due is not None), default=None)

    def _carry_out(self, mn_id: str, order: Order, now: Instant) -> None:
        match order:
            case MoveFlow(fid, bid, reason):
                self._outbox.put(Log("triggered", {"mn": mn_id, "fid": fid, "reason": reason}))
                self._flows.move_flow(mn_id, fid, bid, NOBODY, now)
            case AddFlow(entry, reason):
                details = {"mn": mn_id, "fid": entry.fid, "reason": reason}
                self._outbox.put(Log("triggered", details))
                self._flows.add_flow(mn_id, entry, NOBODY, now)

    def _view(self, mn_id: str) -> MobileNodeView:
        return MobileNodeView(
            mn_id,
            tuple(self._shown(entry) for entry in self._bindings.of(mn_id) if entry.registered),
            self._flows.rows_as_ordered(mn_id),
            self._rates(mn_id),
        )

    def _rates(self, mn_id: str) -> dict[int, float]:
        rates = {
            row.fid: self._paths.octets_per_s(self._flows.key(mn_id, row.fid))
            for row in self._flows.cache.rows(mn_id)
        }
        return {fid: rate for fid, rate in rates.items() if rate is not None}

    def _shown(self, entry: BindingCacheEntry) -> BindingView:
        report = entry.access_link_report
        return BindingView(
            entry.bid,
            self._flows.access_name(entry.bid),
            entry.bid_priority,
            None if report.quality == UNKNOWN_PERCENT else report.quality,
            None if report.load == UNKNOWN_PERCENT else report.load,
            None if report.queue_delay_ms == UNKNOWN_DELAY else report.queue_delay_ms,
        )


def _due(policy: Policy, now: Instant) -> bool:
    deadline = policy.deadline()
    return deadline is not None and deadline <= now.monotonic
