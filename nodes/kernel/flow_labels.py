"""The flow labels of tunnel headers, by which switches tell the flows of a tunnel.

The mark of a packet, which outlives its encapsulation, has its flow's label above the tunnel's
number. So the label that the packet itself has stays as its source set it, as RFC 6437 section 3
wants; the tunnel header is the LMA's own. Those of packets of no flow have label 0: one that the
kernel makes up for load sharing (RFC 6438) could be that of a flow.
"""

from __future__ import annotations

from ipaddress import IPv6Address

TUNNEL_BITS = 12
TUNNEL_MASK = (1 << TUNNEL_BITS) - 1
IPV6_IN_IPV6 = 41
# The header's first word without its label: the label's 20 bits alone would be a write of three
# octets, which the kernel doesn't do.
_WITHOUT_LABEL = "@nh,0,32 & 0xfff00000"


def with_label(mark: int, label: int) -> int:
    return label << TUNNEL_BITS | mark


def label_chain(table: str, address: IPv6Address) -> str:
    """What `table` needs for tunnels from `address`."""
    return f"""
table {table} {{
  map labels {{
    type mark : verdict
  }}
  chain label {{
    type filter hook postrouting priority mangle; policy accept;
    ip6 saddr != {address} return
    ip6 nexthdr != {IPV6_IN_IPV6} return
    meta mark vmap @labels
    @nh,0,32 set {_WITHOUT_LABEL}
  }}
}}
"""


def start_labelling(table: str, key: int, mark: int) -> list[str]:
    """Commands, if `mark` has a label."""
    label = mark >> TUNNEL_BITS
    if not label:
        return []
    return [
        f"add chain {table} {_chain(key)}",
        f"add rule {table} {_chain(key)} @nh,0,32 set {_WITHOUT_LABEL} | {label}",
        f"add element {table} labels {{ {mark:#x} : goto {_chain(key)} }}",
    ]


def stop_labelling(table: str, key: int, mark: int) -> list[str]:
    if not mark >> TUNNEL_BITS:
        return []
    return [
        f"delete element {table} labels {{ {mark:#x} }}",
        f"flush chain {table} {_chain(key)}",
        f"delete chain {table} {_chain(key)}",
    ]


def _chain(key: int) -> str:
    return f"label_{key:x}"
