"""The OpenFlow matches of a traffic selector (RFC 6088 section 3.2).

OpenFlow has values and masks where RFC 6088 has ranges. Of the fields that take a mask a range
becomes the fewest aligned blocks; of DSCP and next header, which take none, all its values.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Address, IPv6Network, collapse_addresses, summarize_address_range
from itertools import product
from typing import Any

from controllers.openflow import FIELD_BITS, FieldValue, Match
from nodes.northbound import Flow
from nodes.selectors import selector_of
from nodes.wire.traffic_selector import IPv6TrafficSelector

# The transports that have ports both for OpenFlow 1.3 and for selectors.
TRANSPORTS = {6: "tcp", 17: "udp", 132: "sctp"}
# Those whose ports selectors see and OpenFlow doesn't: DCCP, UDP-Lite.
_OTHER_TRANSPORTS = frozenset({33, 136})
# Open vSwitch takes this header (RFC 4302) for one of those before the next header.
_AUTHENTICATION_HEADER = 51
# What neither selectors nor switches take for the next header. Open vSwitch shows 44 for fragments
# that aren't the first, whatever is in them.
_EXTENSION_HEADERS = frozenset({0, 43, 44, 60})
MAX_MATCHES = 256

Fields = dict[str, FieldValue]


class Inexpressible(ValueError):
    """What OpenFlow 1.3 has no matches for. The message names field, value and what is expected."""

    def __init__(self, field: str, shown: object, reason: str) -> None:
        super().__init__(f"selector.{field} is {shown}; {reason}")


def flow_matches(flow: Flow) -> tuple[Match, ...]:
    """Raises ValueError for fields that are no selector, and Inexpressible, which is one."""
    return selector_matches(selector_of(flow.selector), flow.prefixes)


def selector_matches(
    selector: IPv6TrafficSelector, prefixes: Iterable[IPv6Network]
) -> tuple[Match, ...]:
    """Matches of the packets to any of `prefixes` that `selector` matches, no two of which have a
    packet in common. Raises Inexpressible, also for what other prefixes wouldn't change.

    Ports without a next header are those of TCP, UDP and SCTP. Of the first fragment of a packet
    switches see the next header and not the ports, which they take for 0 (OFPC_FRAG_NORMAL), and of
    the others neither. So port 0, which no packet has (RFC 6335 section 6), is in no range but the
    whole one, and the fragments of a flow with other ports take the default path together.
    """
    if selector.start_spi is not None:
        reason = "OpenFlow 1.3 has no such field; expected a selector without SPI"
        raise Inexpressible("start_spi", _shown(selector, "spi"), reason)
    alternatives = {
        "source_address": _sources(selector),
        "destination_address": _destinations(selector, prefixes),
        "flow_label": _blocks_of(selector, "flow_label", "ipv6_flabel"),
        "traffic_class": _code_points(selector),
        "next_header": _transports(selector),
    }
    total = 1
    for choices in alternatives.values():
        total *= max(1, len(choices))
    if total > MAX_MATCHES:
        raise _too_many(selector, alternatives, total)
    return tuple(
        Match.of_ipv6(**{name: value for fields in choice for name, value in fields.items()})
        for choice in product(*alternatives.values())
    )


def _too_many(
    selector: IPv6TrafficSelector, alternatives: dict[str, list[Fields]], total: int
) -> Inexpressible:
    worst = max(alternatives, key=lambda name: len(alternatives[name]))
    field = worst
    if worst == "next_header":
        # The ports are part of it.
        counts = {
            name: len(_ports(selector, name))
            for name in ("source_port", "destination_port")
            if getattr(selector, f"start_{name}") is not None
        }
        field = max(counts, key=lambda name: counts[name], default=worst)
    reason = (
        f"with it the selector takes {total} OpenFlow matches; "
        f"expected a range that makes it at most {MAX_MATCHES}"
    )
    return Inexpressible(f"start_{field}", _shown(selector, field), reason)


def _shown(selector: IPv6TrafficSelector, name: str) -> str:
    start, end = getattr(selector, f"start_{name}"), getattr(selector, f"end_{name}")
    return str(start) if end is None else f"{start} and selector.end_{name} is {end}"


def _range(selector: IPv6TrafficSelector, name: str) -> tuple[Any, Any] | None:
    """Both ends, or None if the field isn't there."""
    start = getattr(selector, f"start_{name}")
    end = getattr(selector, f"end_{name}")
    return None if start is None else (start, start if end is None else end)


def _bounds(selector: IPv6TrafficSelector, name: str, bits: int) -> tuple[int, int]:
    return _range(selector, name) or (0, (1 << bits) - 1)


def _blocks(first: int, last: int, bits: int) -> list[tuple[int, int]]:
    """The fewest pairs of value and mask, the mask a prefix, that make up a range."""
    full = (1 << bits) - 1
    found = []
    while first <= last:
        size = first & -first or 1 << bits
        while size > last - first + 1:
            size >>= 1
        found.append((first, full & ~(size - 1)))
        first += size
    return found


def _blocks_of(selector: IPv6TrafficSelector, name: str, field: str) -> list[Fields]:
    bits = FIELD_BITS[field]
    return [{field: block} for block in _blocks(*_bounds(selector, name, bits), bits)]


def _sources(selector: IPv6TrafficSelector) -> list[Fields]:
    ends = _range(selector, "source_address")
    if ends is None:
        return [{}]
    return [{"ipv6_src": network} for network in summarize_address_range(*ends)]


def _destinations(selector: IPv6TrafficSelector, prefixes: Iterable[IPv6Network]) -> list[Fields]:
    """The part of the range that is in a prefix of the mobile node; none, if there is none."""
    first, last = _range(selector, "destination_address") or (
        IPv6Address(0),
        IPv6Address((1 << 128) - 1),
    )
    found: list[Fields] = []
    for prefix in collapse_addresses(prefixes):
        start, end = max(first, prefix[0]), min(last, prefix[-1])
        if start <= end:
            found.extend({"ipv6_dst": part} for part in summarize_address_range(start, end))
    return found


def _code_points(selector: IPv6TrafficSelector) -> list[Fields]:
    """The two bits of ECN are ignored (RFC 6088 section 3.2)."""
    ends = _range(selector, "traffic_class")
    if ends is None:
        return [{}]
    first, last = (value >> 2 for value in ends)
    if (first, last) == (0, 63):
        return [{}]
    return [{"ip_dscp": value} for value in range(first, last + 1)]


def _transports(selector: IPv6TrafficSelector) -> list[Fields]:
    """Next headers, with the ports of each that has some."""
    ends = _range(selector, "next_header")
    if ends == (0, 255):
        ends = None
    with_ports = (
        selector.start_source_port is not None or selector.start_destination_port is not None
    )
    if ends is None:
        if not with_ports:
            return [{}]
        protocols: Iterable[int] = TRANSPORTS
    else:
        protocols = _named(selector, range(ends[0], ends[1] + 1), with_ports)
    if not with_ports:
        return [{"ip_proto": protocol} for protocol in protocols]
    sources = _ports(selector, "source_port")
    destinations = _ports(selector, "destination_port")
    found: list[Fields] = []
    for protocol in protocols:
        transport = TRANSPORTS[protocol]
        for source, destination in product(sources, destinations):
            found.append(
                {
                    "ip_proto": protocol,
                    f"{transport}_src": source,
                    f"{transport}_dst": destination,
                }
            )
    return found


def _named(selector: IPv6TrafficSelector, protocols: range, with_ports: bool) -> list[int]:
    """Those of a range of next headers that packets can have."""
    shown = _shown(selector, "next_header")
    if with_ports:
        other = next((number for number in protocols if number in _OTHER_TRANSPORTS), None)
        if other is not None:
            reason = f"OpenFlow 1.3 has no ports of {other}; expected 6, 17 or 132 with ports"
            raise Inexpressible("start_next_header", shown, reason)
        return [number for number in protocols if number in TRANSPORTS]
    if _AUTHENTICATION_HEADER in protocols:
        reason = "switches look behind the authentication header; expected values other than 51"
        raise Inexpressible("start_next_header", shown, reason)
    found = [number for number in protocols if number not in _EXTENSION_HEADERS]
    if not found:
        reason = "an extension header; expected that of what comes after those"
        raise Inexpressible("start_next_header", shown, reason)
    return found


def _ports(selector: IPv6TrafficSelector, name: str) -> list[tuple[int, int]]:
    first, last = _bounds(selector, name, 16)
    if (first, last) == (0, 0):
        reason = "switches show port 0 for fragments; expected 1 to 65535"
        raise Inexpressible(f"start_{name}", _shown(selector, name), reason)
    if first == 0 and last != 0xFFFF:
        first = 1
    return _blocks(first, last, 16)
