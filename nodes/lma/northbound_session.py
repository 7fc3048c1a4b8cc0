"""The LMA's connection to the controller, without its socket: when to connect, the numbers of the
requests, and which of them wait for an answer since when."""

from __future__ import annotations

from collections.abc import Callable

from nodes.actions import Action, CloseNorthbound, ConnectNorthbound, Instant, Log, SendNorthbound
from nodes.controller_config import ControllerConfig
from nodes.northbound import Reply, Request

AT_ONCE = 0.0  # a monotonic time that has passed


class NorthboundSession:
    """`put` takes actions. Timers start at `settle`, which follows every input: what sends a
    request needn't know the time."""

    def __init__(self, config: ControllerConfig, put: Callable[..., None]) -> None:
        self._timeout_s = config.request_timeout_ms / 1000
        self._delay_s = config.reconnect_delay_ms / 1000
        self._put: Callable[[Action], None] = put
        self._last = 0
        self._unanswered: dict[int, tuple[str, float | None]] = {}
        self._connecting = False
        # When to connect or, while connecting, when to give up.
        self._due: float | None = AT_ONCE
        self.connected = False

    def send(self, make: Callable[[int], Request]) -> int:
        """Send what `make` makes of the next number, and return that number."""
        self._last += 1
        request = make(self._last)
        op = str(type(request).__struct_config__.tag)
        self._unanswered[request.id] = (op, None)
        self._put(Log("northbound-request", {"id": request.id, "op": op}))
        self._put(SendNorthbound(request))
        return request.id

    def answered(self, reply: Reply) -> bool:
        """Whether it is the answer to a request that waits for one."""
        op, _ = self._unanswered.pop(reply.id, ("", None))
        details = {"id": reply.id, "op": op, "ok": reply.ok}
        self._put(Log("northbound-reply", {**details, "error": reply.error}))
        return bool(op)

    def opened(self) -> None:
        self.connected, self._connecting, self._due = True, False, None

    def ended(self, now: Instant) -> None:
        """The connection is gone, or couldn't be made."""
        self.connected = self._connecting = False
        self._unanswered.clear()
        self._due = now.monotonic + self._delay_s

    def settle(self, now: Instant) -> None:
        end = now.monotonic + self._timeout_s
        for number, (op, due) in self._unanswered.items():
            if due is None:
                self._unanswered[number] = (op, end)

    def deadline(self) -> float | None:
        deadlines = [due for _, due in self._unanswered.values()]
        return min((due for due in [self._due, *deadlines] if due is not None), default=None)

    def handle_timer(self, now: Instant) -> str | None:
        """Connect if it is time to. Returns why the controller counts as lost, if it does."""
        for number, (op, due) in self._unanswered.items():
            if due is not None and due <= now.monotonic:
                self._put(Log("controller-timeout", {"id": number, "op": op}))
                self._put(CloseNorthbound())
                return f"the controller did not answer within {self._timeout_s * 1000:.0f} ms"
        if self._due is None or self._due > now.monotonic:
            return None
        if self._connecting:
            self._put(CloseNorthbound())
            return "no connection could be made"
        self._connecting, self._due = True, now.monotonic + self._timeout_s
        self._put(ConnectNorthbound())
        return None
