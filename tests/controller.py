"""A model of the controller at the other end of the northbound interface: it keeps what the LMA
wants and answers as docs/northbound.md has it, with delays, errors and losses as a test wants."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from nodes import northbound
from nodes.actions import Action, CloseNorthbound, ConnectNorthbound, SendNorthbound
from nodes.controller_config import FABRIC_GATEWAY
from nodes.strict import from_json, to_json

if TYPE_CHECKING:
    from tests.domain import Network

Fault = Callable[[northbound.Request], str | None]


class ModelController:
    """`delay_s`: from the LMA and back to it. `work_s`: how long a change takes, in which a newer
    one for the same flow overtakes it. `fault` says why a request fails, and `left_out` which flows
    of a sync it can't have, and why."""

    def __init__(self, network: Network, delay_s: float = 0.005, work_s: float = 0.010) -> None:
        self._network = network
        self.delay_s, self.work_s = delay_s, work_s
        self.reachable = True
        self.silent = False
        self.fault: Fault = lambda request: None
        self.left_out: dict[int, str] = {}
        self.requests: list[northbound.Request] = []
        self.epochs: list[int] = []
        self.prefixes: dict[IPv6Network, IPv6Address | None] = {}
        self.flows: dict[int, northbound.Flow] = {}
        self.paths: dict[int, northbound.FlowPath] = {}
        self._connection = 0
        self._connected = False
        self._synchronized = False
        self._newest: dict[int, int] = {}
        self._last = 0

    def perform(self, action: Action) -> None:
        """What the LMA's shell does."""
        match action:
            case ConnectNorthbound():
                if self.reachable:
                    self._connection += 1
                    self._connected, self._synchronized, self._last = True, False, 0
                    self._tell(lambda core, now: core.controller_connected(now))
                else:
                    self._tell(lambda core, now: core.controller_lost(now))
            case CloseNorthbound():
                self.perform_close()
            case SendNorthbound(request) if self._connected:
                line = to_json(request)
                self._network.later(self.delay_s, self._on_connection(lambda: self._take(line)))

    def perform_close(self) -> None:
        """The LMA's end of the connection is gone."""
        self._connection += 1
        self._connected = False

    def break_connection(self) -> None:
        """What is under way on it, in either direction, is lost."""
        if self._connected:
            self._connection += 1
            self._connected = False
            self._tell(lambda core, now: core.controller_lost(now))

    def restart(self) -> None:
        """It forgets everything but what its switches have."""
        self._newest.clear()
        self.break_connection()

    def event(self, message: northbound.Event) -> None:
        self._tell(lambda core, now: core.northbound_received(message, now))

    def ops(self) -> list[str]:
        """The requests that arrived since the last call."""
        shown = [str(type(request).__struct_config__.tag) for request in self.requests]
        self.requests.clear()
        return shown

    def way(self, key: int) -> tuple[IPv6Address, ...] | None:
        """Where packets of a flow end up, by the forwarding of the LMA and of the switches; None:
        where packets of no flow do."""
        forwarding = self._network.lma.forwarding
        sent = forwarding.targets.get(key, ())
        path = self.paths.get(key)
        if not sent:
            routes = [forwarding.routes.get(p) for p in self._prefixes_of(key)]
            return path.mags if path is not None and FABRIC_GATEWAY in routes else None
        if sent == (FABRIC_GATEWAY,):
            return path.mags if path is not None and path.mags else None
        label = forwarding.labels.get(key, 0)
        if label and path is not None and (path.anchor,) == sent:
            assert self.flows[key].label == label
            return path.mags
        return sent

    def _prefixes_of(self, key: int) -> tuple[IPv6Network, ...]:
        return self.flows[key].prefixes if key in self.flows else ()

    def _tell(self, what: Callable[..., None]) -> None:
        connection = self._connection
        self._network.later(
            self.delay_s,
            lambda: self._network.tell_lma(what) if connection == self._connection else None,
        )

    def _on_connection(self, what: Callable[[], None]) -> Callable[[], None]:
        connection = self._connection
        return lambda: what() if connection == self._connection else None

    def _take(self, line: bytes) -> None:
        request: northbound.Request = from_json(line, northbound.Request, "request")  # type: ignore[arg-type]
        assert request.id > self._last, "numbers increase"
        assert self._synchronized or isinstance(request, northbound.Sync), "first comes a sync"
        self._last, self._synchronized = request.id, True
        self.requests.append(request)
        if isinstance(request, northbound.Sync) and request.epoch not in self.epochs:
            self.epochs.append(request.epoch)
        if self.silent:
            return
        for key in self._keys(request):
            self._newest[key] = request.id
        self._network.later(self.work_s, self._on_connection(lambda: self._finish(request)))

    def _finish(self, request: northbound.Request) -> None:
        newer = [n for key in self._keys(request) if (n := self._newest[key]) > request.id]
        error = f"superseded by request {max(newer)}" if newer else self.fault(request)
        if error is None:
            error = self._apply(request)
        result = None
        if isinstance(request, northbound.Sync):
            result = {"lost": [], "refused": {str(key): why for key, why in self.left_out.items()}}
        reply = northbound.Reply(id=request.id, ok=error is None, error=error, result=result)
        read = from_json(to_json(reply), northbound.Reply, "reply")
        self._tell(lambda core, now: core.northbound_received(read, now))

    def _apply(self, request: northbound.Request) -> str | None:
        match request:
            case northbound.Sync():
                self.prefixes = {path.prefix: path.mag for path in request.prefixes}
                taken = {f.key: f for f in request.flows if f.key not in self.left_out}
                self.flows = taken
                self.paths = {p.key: p for p in request.paths if p.mags and p.key in taken}
            case northbound.Attach(path=path):
                self.prefixes[path.prefix] = path.mag
            case northbound.Detach(prefix=prefix):
                self.prefixes.pop(prefix, None)
            case northbound.AddFlow(flow=flow, path=flow_path):
                self.flows[flow.key] = flow
                self._steer(flow_path)
            case northbound.MoveFlows(paths=paths):
                for flow_path in paths:
                    if flow_path.key not in self.flows:
                        return f"there is no flow {flow_path.key}"
                for flow_path in paths:
                    self._steer(flow_path)
            case northbound.RemoveFlow(key=key):
                self.flows.pop(key, None)
                self.paths.pop(key, None)
        return None

    def _steer(self, path: northbound.FlowPath) -> None:
        if path.mags:
            self.paths[path.key] = path
        else:
            self.paths.pop(path.key, None)

    @staticmethod
    def _keys(request: northbound.Request) -> list[int]:
        match request:
            case northbound.AddFlow(flow=flow):
                return [flow.key]
            case northbound.MoveFlows(paths=paths):
                return [path.key for path in paths]
            case northbound.RemoveFlow(key=key):
                return [key]
        return []
