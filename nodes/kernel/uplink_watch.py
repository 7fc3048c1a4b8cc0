"""Which tunnel the uplink packets of a flow come through: told when that changes.

The connection tracking mark of a flow is the tunnel of its last uplink packet. A packet that comes
through another is held in a queue until the LMA has seen it; all others pass untouched.
"""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from nodes.actions import Action, CloseTunnel, IgnoreUplink, OpenTunnel, WatchUplink
from nodes.kernel.nftables import Transactions
from nodes.kernel.packet_queue import PacketQueue, QueuedPacket
from nodes.kernel.routing import Routing
from nodes.wire.mobility_header import NEXT_HEADER as MOBILITY_HEADER

TABLE = "ip6 flowmob_uplink"
QUEUE = 1

_SKELETON = f"""
table {TABLE} {{
  set watched {{
    type ipv6_addr
    flags interval
  }}
  chain tunnels {{
  }}
  chain uplink {{
    type filter hook prerouting priority mangle + 1; policy accept;
    meta l4proto {MOBILITY_HEADER} return
    ip6 saddr @watched jump tunnels
  }}
}}
"""


class UplinkWatch:
    def __init__(self) -> None:
        self._routing = Routing()
        self._nftables = Transactions()
        self._nftables.run(f"add table {TABLE}", f"delete table {TABLE}", _SKELETON)
        self._queue = PacketQueue(QUEUE)
        self._tunnels: dict[int, IPv6Address] = {}

    def fileno(self) -> int:
        return self._queue.fileno()

    def receive(self) -> list[tuple[QueuedPacket, IPv6Address | None]]:
        """Packets that wait, each with the peer of the tunnel that it came through."""
        return [(packet, self._tunnels.get(packet.interface)) for packet in self._queue.receive()]

    def accept(self, packet: QueuedPacket) -> None:
        self._queue.accept(packet)

    def perform(self, action: Action, tunnel: str = "") -> None:
        """Keep up with the tunnels, and with what is to be watched. `tunnel`: the interface of an
        OpenTunnel, which is there already."""
        match action:
            case OpenTunnel(peer):
                self._tunnels[self._routing.index(tunnel)] = peer
                self._renew()
            case CloseTunnel(peer):
                self._tunnels = {
                    key: value for key, value in self._tunnels.items() if value != peer
                }
                self._renew()
            case WatchUplink(prefix):
                self._element("add", prefix)
            case IgnoreUplink(prefix):
                self._element("delete", prefix)

    def close(self) -> None:
        self._queue.close()
        self._routing.close()

    def _element(self, verb: str, prefix: IPv6Network) -> None:
        self._nftables.run(f"{verb} element {TABLE} watched {{ {prefix} }}")

    def _renew(self) -> None:
        rules = [
            f"add rule {TABLE} tunnels iif {index} ct mark != {index} ct mark set {index} "
            f"queue flags bypass to {QUEUE}"
            for index in self._tunnels
        ]
        self._nftables.run(f"flush chain {TABLE} tunnels", *rules)
