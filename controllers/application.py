"""The application that redirects flows, on os-ken and on Ryu: the core, connected to switches, the
LMA and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from controllers.actions import (
    Action,
    Announce,
    Answer,
    Command,
    Disconnect,
    HangUp,
    RequestDump,
    RuleChange,
    SendRules,
)
from controllers.config import RedirectionConfig
from controllers.fabric import Fabric
from controllers.flow_counts import CountedRule
from controllers.flow_entries import flow_mod, flow_stats_request, rule_of
from controllers.framework import (
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    Application,
    Timer,
    ofp_event,
    send_together,
    set_ev_cls,
)
from controllers.northbound_server import NorthboundServer
from controllers.redirection import Redirection
from nodes.actions import Log
from nodes.event_log import EventWriter
from nodes.strict import convert


class RedirectionApplication(Application):
    """`config` has the tables of a `RedirectionConfig`. Raises InputError."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        settings = convert(config, RedirectionConfig, "controller")
        self._names = {number: name for name, number in settings.datapath_ids.items()}
        self._datapaths: dict[str, Any] = {}
        self._entries: dict[tuple[str, int], list[CountedRule]] = {}
        self._timer: Timer | None = None
        self._due: float | None = None
        self._events = EventWriter(settings.events, "controller")
        self._core = Redirection(Fabric(settings.fabric), settings.timers, time.monotonic())
        self._server = NorthboundServer(
            (str(settings.northbound_address), settings.northbound_port),
            settings.lma_addresses,
            up=lambda connection: self.soon(self._lma_up, connection),
            receive=lambda connection, request: self.soon(self._request, connection, request),
            down=lambda connection: self.soon(self._lma_down, connection),
            refuse=lambda connection, why: self.soon(self._refused, connection, why),
        )
        self._events.write("started")

    def start(self) -> Any:
        started = super().start()
        self._server.start()
        self.soon(self._carry_out)
        return started

    def close(self) -> None:
        self._events.write("stopped")

    # The LMA

    def _lma_up(self, connection: int) -> None:
        self._events.write("lma-connected", {"connection": connection})
        self._core.connected(connection)

    def _lma_down(self, connection: int) -> None:
        self._events.write("lma-disconnected", {"connection": connection})
        self._core.disconnected(connection)

    def _refused(self, connection: int, why: str) -> None:
        self._events.write("bad-request", {"connection": connection, "why": why})

    def _request(self, connection: int, request: Any) -> None:
        self._core.receive(connection, request, time.monotonic())
        self._carry_out()

    # Switches

    def _from_switch(self, datapath: Any, tell: Callable[..., None], *arguments: Any) -> None:
        name = self._name(datapath)
        if name is not None:
            tell(name, *arguments, time.monotonic())
            self._carry_out()

    def _name(self, datapath: Any) -> str | None:
        """None: a switch that has connected anew since, or has been given up, or is unknown."""
        name = self._names.get(datapath.id)
        return name if name is not None and self._datapaths.get(name) is datapath else None

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
    def _state(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            name = self._names.get(datapath.id)
            if name is None:
                self._events.write("unknown-switch", {"datapath": datapath.id})
                return
            self._datapaths[name] = datapath
            self._from_switch(datapath, self._core.switch_connected)
        elif datapath.id is not None and (name := self._name(datapath)) is not None:
            self._from_switch(datapath, self._core.switch_disconnected)
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._datapaths.pop(name, None)
        for key in [key for key in self._entries if key[0] == name]:
            del self._entries[key]

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def _barrier(self, event: Any) -> None:
        self._from_switch(event.msg.datapath, self._core.barrier_reply, event.msg.xid)

    @set_ev_cls(ofp_event.EventOFPErrorMsg, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def _error(self, event: Any) -> None:
        message = event.msg
        ofproto = message.datapath.ofproto
        text = (
            f"{ofproto.ofp_error_type_to_str(message.type)}, "
            f"{ofproto.ofp_error_code_to_str(message.type, message.code)}"
        )
        self._from_switch(message.datapath, self._core.switch_error, message.xid, text)

    @set_ev_cls(ofp_event.EventOFPFlowStatsReply, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def _dump(self, event: Any) -> None:
        """It comes in as many messages as it takes."""
        message = event.msg
        name = self._name(message.datapath)
        if name is None:
            return
        entries = self._entries.setdefault((name, message.xid), [])
        for entry in message.body:
            try:
                rule = rule_of(entry)
            except ValueError as error:
                self._events.write("unknown-rule", {"switch": name, "why": str(error)})
            else:
                entries.append(CountedRule(rule, entry.packet_count, entry.byte_count))
        if not message.flags & message.datapath.ofproto.OFPMPF_REPLY_MORE:
            del self._entries[name, message.xid]
            self._from_switch(message.datapath, self._core.dumped, message.xid, entries)

    # What the core wants

    def _carry_out(self) -> None:
        for action in self._core.take_actions():
            self._perform(action)
        self._set_timer()

    def _perform(self, action: Action) -> None:
        match action:
            case SendRules(switch, changes, xid):
                datapath = self._datapaths[switch]
                barrier = datapath.ofproto_parser.OFPBarrierRequest(datapath)
                messages = [*_flow_mods(datapath, changes), barrier]
                for message in messages:
                    message.set_xid(xid)
                send_together(datapath, messages)
            case RequestDump(switch, xid):
                datapath = self._datapaths[switch]
                request = flow_stats_request(datapath)
                request.set_xid(xid)
                send_together(datapath, [request])
            case Disconnect(switch):
                datapath = self._datapaths.get(switch)
                self._forget(switch)
                if datapath is not None:
                    datapath.abort()
            case Answer(connection, reply):
                self._server.send(connection, reply)
            case Announce(connection, event):
                self._server.send(connection, event)
            case HangUp(connection):
                self._server.close(connection)
            case Log(event, details):
                self._events.write(event, details)

    def _set_timer(self) -> None:
        """A timer that comes too early is better than a new one for each barrier."""
        due = self._core.deadline()
        if due is None or (self._due is not None and self._due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.later(max(0.0, due - time.monotonic()), self._time)

    def _time(self) -> None:
        self._timer, self._due = None, None
        now = time.monotonic()
        due = self._core.deadline()
        if due is not None and due <= now:
            self._core.handle_timer(now)
        self._carry_out()


def _flow_mods(datapath: Any, changes: Iterable[RuleChange]) -> list[Any]:
    ofproto = datapath.ofproto
    commands = {
        Command.ADD: ofproto.OFPFC_ADD,
        Command.MODIFY: ofproto.OFPFC_MODIFY_STRICT,
        Command.DELETE: ofproto.OFPFC_DELETE_STRICT,
    }
    return [flow_mod(datapath, change.rule, commands[change.command]) for change in changes]
