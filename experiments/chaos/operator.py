"""The operator: orders flows at the LMA, and orders again what an LMA that was restarted forgot."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from experiments.chaos.control import Client, ControlLost
from experiments.chaos.domain import CN_ADDRESS, LMA, mag_address, port_of
from experiments.chaos.looking import Looks
from experiments.chaos.loop import Loop
from experiments.chaos.record import Recorder
from experiments.chaos.scenario import Revoke, Scenario
from experiments.emulation.roles import mn_id
from nodes.strict import to_builtins

UDP = 17
PRIORITY_STEP = 10
# After its start an LMA gets its bindings from the MAGs.
ORDER_AGAIN_AFTER_S = 15.0
JSON = dict[str, Any]


class Operator:
    def __init__(
        self, scenario: Scenario, looks: Looks, loop: Loop, recorder: Recorder, state: Path
    ) -> None:
        self._flows = {flow.number: flow for flow in scenario.flows}
        self._looks = looks
        self._loop = loop
        self._recorder = recorder
        self._state = state
        # The orders of the flows that there have to be, for a successor that knows of none.
        self._wanted: dict[int, JSON] = {}
        self._number = 0

    def add_flow(
        self, number: int, to: tuple[str, ...], drop: bool, address: IPv6Address | None
    ) -> None:
        flow = self._flows[number]
        selector: JSON = {
            "start_next_header": UDP,
            "start_destination_port": port_of(number),
        }
        if flow.exact:
            if address is None:
                return
            selector |= {
                "start_source_address": str(CN_ADDRESS),
                "start_destination_address": str(address),
                "start_source_port": port_of(number),
            }
        request = {
            "op": "add-flow",
            "mn": mn_id(flow.mn),
            "fid": number,
            "priority": PRIORITY_STEP * number,
            "selector": selector,
            "to": list(to),
            "action": "drop" if drop else "forward",
        }
        self.order(LMA, request)

    def move_flow(self, number: int, to: tuple[str, ...], *, everything: bool) -> None:
        fid = "all" if everything else number
        mn = mn_id(self._flows[number].mn)
        self.order(LMA, {"op": "move-flow", "mn": mn, "fid": fid, "to": list(to)})

    def remove_flow(self, number: int) -> None:
        mn = mn_id(self._flows[number].mn)
        self.order(LMA, {"op": "remove-flow", "mn": mn, "fid": number})

    def remove_all(self) -> None:
        for number in self._flows:
            self.remove_flow(number)

    def revoke(self, fault: Revoke) -> None:
        request: JSON = {"op": "revoke"}
        if fault.mn is not None:
            request["mn"] = mn_id(fault.mn)
            if fault.access is not None:
                request["binding"] = fault.access
        elif fault.mag is not None:
            request["mag"] = str(mag_address(fault.mag))
        self.order(LMA, request)

    def restarted(self) -> None:
        """The LMA was."""
        self._loop.later(ORDER_AGAIN_AFTER_S, self.order_again)

    def order_again(self) -> None:
        known = self._looks.ask_all(LMA)
        if known is None:
            return
        present = {flow["fid"] for flow in known["flows"]}
        for number, request in list(self._wanted.items()):
            if number not in present:
                self.order(LMA, request)

    def order(self, node: str, request: JSON) -> None:
        """Without waiting: what comes of it is recorded when it comes."""
        self._number += 1
        number = self._number
        request = to_builtins(request)
        self._recorder.write(self._loop.seconds, "order", number=number, node=node, request=request)
        try:
            client = Client(self._state / f"{node}.sock")
        except ControlLost:
            self._reply(number, request, None)
            return
        try:
            client.send(request)
        except ControlLost:
            client.close()
            self._reply(number, request, None)
            return
        self._loop.watch(client, partial(self._replied, client, number, request))

    def _replied(self, client: Client, number: int, request: JSON) -> None:
        replies: list[JSON] = []
        try:
            client.receive(replies.append)
        except ControlLost:
            if not replies:
                replies.append({})
        for reply in replies[:1]:
            self._reply(number, request, reply or None)
        if replies:
            self._loop.forget(client)
            client.close()

    def _reply(self, number: int, request: JSON, reply: JSON | None) -> None:
        """None: nobody answers, because the daemon isn't running or was killed."""
        self._recorder.write(self._loop.seconds, "reply", number=number, reply=reply)
        if reply is None or not reply.get("ok"):
            return
        fid: Any = request.get("fid")
        match request["op"]:
            case "add-flow":
                self._wanted[fid] = request
            case "remove-flow":
                self._wanted.pop(fid, None)
            case "move-flow":
                moved = [n for n in self._wanted if self._wanted[n]["mn"] == request["mn"]]
                for one in moved if fid == "all" else [fid]:
                    if one in self._wanted:
                        self._wanted[one] = {**self._wanted[one], "to": request["to"]}
