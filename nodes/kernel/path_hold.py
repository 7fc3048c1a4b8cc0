"""Packets that wait in a tunnel before they leave: a queueing class of the tunnel for each hold.

HFSC does it without anybody being woken: a class whose upper limit is nothing for the first so many
ms and no limit afterwards sends nothing until so long after its first packet, and then all that has
come meanwhile, in order. Other packets are of another class, which isn't limited. nftables gives
packets their class as their priority.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from nodes.actions import Action, EndHold, HoldFlows, ReleaseFlows
from nodes.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    Request,
    attribute,
    carry_out,
    link_state,
    open_channel,
    text,
)
from nodes.kernel.nftables import Transactions

# linux/rtnetlink.h and pkt_sched.h
RTM_NEWQDISC, RTM_NEWTCLASS, RTM_DELTCLASS = 36, 40, 41
TCA_KIND, TCA_OPTIONS, TC_H_ROOT = 1, 2, 0xFFFF_FFFF
TCA_HFSC_FSC, TCA_HFSC_USC = 2, 3
# Not a handle that the qdisc of a link has, which sees the priority too.
HANDLE = 0x7864 << 16
OTHERS = 0xFFFF
HOLDS = 0xFFF0
# Octets/s: 10 Gbit/s. HFSC needs a rate.
NO_LIMIT = 1_250_000_000


def hold_map(table: str) -> str:
    """What `table` needs: the class of each flow that is held, by its key."""
    return f"""
table {table} {{
  map holds {{
    type mark : classid
  }}
}}
"""


class HoldClass(NamedTuple):
    """Class `number` of the tunnel `interface`."""

    interface: str
    number: int

    def __str__(self) -> str:
        """As nftables writes it."""
        return f"{HANDLE >> 16:x}:{self.number:x}"


class PathHolding:
    """The holds of `table`. Raises NetlinkError if the kernel refuses a request."""

    def __init__(self, table: str, nftables: Transactions) -> None:
        self._table = table
        self._nftables = nftables
        self._channel = open_channel()
        self._waiting: dict[int, HoldFlows] = {}
        self._held: dict[int, int] = {}
        self._classes: dict[int, set[HoldClass]] = {}

    def close(self) -> None:
        self._channel.close()

    def perform(self, action: Action) -> None:
        """Carry out what is about holds."""
        match action:
            case HoldFlows(_, keys):
                self._waiting |= dict.fromkeys(keys, action)
            case ReleaseFlows(hold):
                for found in sorted(self._classes.get(hold, ())):
                    self._set(found, 0, 0)
            case EndHold(hold):
                self._end(hold)

    def prepare(self, interface: str) -> None:
        """A tunnel that is new."""
        index = self._index(interface)
        others = HoldClass(interface, OTHERS)
        carry_out(self._channel, [_new_qdisc(index), _set_class(index, others, 0, NLM_F_CREATE)])

    def forget(self, interface: str) -> None:
        """The tunnel is gone, and its classes with it."""
        for hold, classes in self._classes.items():
            self._classes[hold] = {found for found in classes if found.interface != interface}

    def replace(self, key: int, interface: str | None) -> list[str]:
        """Commands for a flow that goes through another tunnel from now on, or through none."""
        commands = self._leave(key)
        hold = self._waiting.pop(key, None)
        if hold is not None and interface is not None:
            found = HoldClass(interface, 1 + hold.hold % HOLDS)
            classes = self._classes.setdefault(hold.hold, set())
            if found not in classes:
                classes.add(found)
                self._set(found, hold.hold_ms * 1000, NLM_F_CREATE | NLM_F_EXCL)
            self._held[key] = hold.hold
            commands.append(f"add element {self._table} holds {{ {key:#x} : {found} }}")
        return commands

    def _leave(self, key: int) -> list[str]:
        if self._held.pop(key, None) is None:
            return []
        return [f"delete element {self._table} holds {{ {key:#x} }}"]

    def _end(self, hold: int) -> None:
        keys = [key for key, its in self._held.items() if its == hold]
        commands = [command for key in keys for command in self._leave(key)]
        if commands:
            self._nftables.run(*commands)
        for found in sorted(self._classes.pop(hold, ())):
            index = self._index(found.interface)
            body = _tcmsg(index, HANDLE | found.number, HANDLE)
            what = f"delete class {found} of {found.interface}"
            carry_out(self._channel, [Request(RTM_DELTCLASS, 0, body, what)])

    def _set(self, found: HoldClass, hold_us: int, flags: int) -> None:
        index = self._index(found.interface)
        carry_out(self._channel, [_set_class(index, found, hold_us, flags)])

    def _index(self, interface: str) -> int:
        return link_state(self._channel, interface).index


def _tcmsg(index: int, handle: int, parent: int) -> bytes:
    return struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, handle, parent, 0)


def _new_qdisc(index: int) -> Request:
    body = _tcmsg(index, HANDLE, TC_H_ROOT) + text(TCA_KIND, "hfsc")
    body += attribute(TCA_OPTIONS, struct.pack("=H", OTHERS))
    return Request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body, f"hfsc on {index}")


def _set_class(index: int, which: HoldClass, hold_us: int, flags: int) -> Request:
    """Its first packet waits for `hold_us`, and so do those that come meanwhile."""
    curves = attribute(TCA_HFSC_FSC, struct.pack("=III", 0, 0, NO_LIMIT))
    if which.number != OTHERS:
        curves += attribute(TCA_HFSC_USC, struct.pack("=III", 0, hold_us, NO_LIMIT))
    body = _tcmsg(index, HANDLE | which.number, HANDLE) + text(TCA_KIND, "hfsc")
    body += attribute(TCA_OPTIONS, curves)
    return Request(RTM_NEWTCLASS, flags, body, f"class {which} of {which.interface}")
