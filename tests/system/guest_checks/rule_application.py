"""An application that installs given rules when it is told to, and counts what it hears."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

from controllers.framework import (
    DEAD_DISPATCHER,
    MAIN_DISPATCHER,
    NAME,
    Application,
    hub,
    ofp_event,
    send_together,
    set_ev_cls,
)


class RuleApplication(Application):
    """`rules`: per datapath identifier, pairs of the fields of a match and a port. Each line that
    comes on the socket `control` is an order; each order has a line of JSON as its answer."""

    def __init__(self, rules: dict[str, list[tuple[dict[str, Any], int]]], control: str) -> None:
        super().__init__()
        self._rules = {int(number): list(its) for number, its in rules.items()}
        self._datapaths: dict[int, Any] = {}
        self._counts: Counter[str] = Counter()
        self._awaited: dict[tuple[int, int], Any] = {}
        self._gone: list[int] = []
        server = hub.StreamServer((control, None), self._serve)
        hub.spawn(server.serve_forever)

    def _serve(self, channel: Any, _address: Any) -> None:
        while data := channel.recv(4096):
            for order in data.decode().split():
                self.soon(getattr(self, f"order_{order}"), channel)

    def order_state(self, channel: Any) -> None:
        self._answer(
            channel,
            framework=NAME,
            connected=sorted(self._datapaths),
            gone=self._gone,
            counts=dict(self._counts),
        )

    def order_install(self, channel: Any) -> None:
        for number, datapath in sorted(self._datapaths.items()):
            parser, ofproto = datapath.ofproto_parser, datapath.ofproto
            messages = []
            for fields, port in self._rules.get(number, []):
                actions = [parser.OFPActionOutput(port)]
                apply = parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)
                match = parser.OFPMatch(**fields)
                messages.append(
                    parser.OFPFlowMod(datapath, match=match, instructions=[apply], priority=1)
                )
            messages.append(parser.OFPBarrierRequest(datapath))
            barrier = send_together(datapath, messages)[-1]
            self._awaited[number, barrier] = channel

    def order_later(self, channel: Any) -> None:
        self.later(0.5, self._answer, channel)
        self.later(0.2, self.order_install, channel).cancel()

    def _answer(self, channel: Any, **what: Any) -> None:
        channel.sendall(json.dumps({"at_ns": time.monotonic_ns(), **what}).encode() + b"\n")

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
    def _state(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == MAIN_DISPATCHER:
            self.logger.info("%s is here", datapath.id)
            self._datapaths[datapath.id] = datapath
        elif self._datapaths.get(datapath.id) is datapath:
            self.logger.info("%s has gone", datapath.id)
            self._gone.append(datapath.id)
            del self._datapaths[datapath.id]

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures)  # type: ignore[untyped-decorator]
    def _features(self, _event: Any) -> None:
        self._counts["features"] += 1

    @set_ev_cls(ofp_event.EventOFPErrorMsg)  # type: ignore[untyped-decorator]
    def _error(self, _event: Any) -> None:
        self._counts["errors"] += 1

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def _barrier(self, event: Any) -> None:
        self._counts["barriers"] += 1
        channel = self._awaited.pop((event.msg.datapath.id, event.msg.xid), None)
        if channel is not None and not self._awaited:
            self._answer(channel, installed=True)
