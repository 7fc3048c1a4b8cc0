"""Traffic selectors, and packets that lie at the edges of their ranges."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from hypothesis import strategies as st

from nodes.packet_fields import AH, ESP, WITH_PORTS
from nodes.wire.traffic_selector import IPv6TrafficSelector, PacketFields
from tests.controllers.fabrics import HOME, OTHER_HOME

CN = IPv6Address("2001:db8:c::1")
NO_NEXT_HEADERS = (0, 43, 44, 60, AH)
PROTOCOLS = st.sampled_from((6, 17, 132, 58, 33, 136, 50, 59, 41)) | st.integers(0, 255).filter(
    # Switches look behind the authentication header, and so don't see what selectors see; and both
    # look behind these extension headers.
    lambda number: number not in NO_NEXT_HEADERS
)


def _number(bits: int) -> st.SearchStrategy[int]:
    """Small, large, near powers of two, or anything."""
    top = (1 << bits) - 1
    near = st.builds(
        lambda power, offset: min(max((1 << power) + offset, 0), top),
        st.integers(0, bits - 1),
        st.integers(-2, 2),
    )
    return st.integers(0, top) | near | st.sampled_from((0, 1, top - 1, top))


def address_in(network: IPv6Network) -> st.SearchStrategy[IPv6Address]:
    return _number(128 - network.prefixlen).map(lambda offset: network[offset])


DESTINATIONS = address_in(HOME) | address_in(OTHER_HOME) | st.just(CN)
SOURCES = address_in(IPv6Network("2001:db8:c::/120")) | _number(128).map(IPv6Address)


@st.composite
def _range(draw, values, name):
    """One value, or two in their order."""
    kind = draw(st.sampled_from(("single", "short", "range")))
    start = draw(values)
    if kind == "single":
        return {f"start_{name}": start}
    end = draw(values)
    if kind == "short" and isinstance(start, int):
        end = start + draw(st.integers(0, 5))
    first, last = sorted((start, end))
    if isinstance(last, int):
        limit = {"flow_label": 0xFFFFF, "traffic_class": 255, "next_header": 255}
        last = min(last, limit.get(name, 0xFFFF))
    if name == "traffic_class" and last >> 2 < first >> 2:
        last = first
    return {f"start_{name}": first, f"end_{name}": last}


@st.composite
def selectors(
    draw: st.DrawFn,
    destinations: st.SearchStrategy[IPv6Address] = DESTINATIONS,
    most: int = 7,
) -> IPv6TrafficSelector:
    """With at most `most` of the fields."""
    values = {
        "source_address": SOURCES,
        "destination_address": destinations,
        "flow_label": _number(20),
        "source_port": _number(16),
        "destination_port": _number(16),
        "traffic_class": _number(8),
        "next_header": PROTOCOLS,
    }
    fields = {}
    for name in sorted(draw(st.sets(st.sampled_from(tuple(values)), max_size=most))):
        fields |= draw(_range(values[name], name))
    return IPv6TrafficSelector(**fields)


def _at_edges(draw, selector, name, anything, bits):
    """A value at, or one beside, an end of the range, inside it, or anything."""
    start = getattr(selector, f"start_{name}")
    if start is None or draw(st.integers(0, 9)) == 0:
        return draw(anything)
    end = getattr(selector, f"end_{name}")
    first, last = int(start), int(start if end is None else end)
    offsets = (0, 0, 0, -1, 1) if name != "traffic_class" else (0, 0, 3, -4, 4)
    value = draw(st.sampled_from((first, last)) | st.integers(first, last)) + draw(
        st.sampled_from(offsets)
    )
    value = min(max(value, 0), (1 << bits) - 1)
    return IPv6Address(value) if name.endswith("address") else value


@st.composite
def packets_near(draw: st.DrawFn, selector: IPv6TrafficSelector) -> PacketFields:
    """Legal packets: with ports other than 0 if their protocol has some and they aren't later
    fragments, and with an SPI if it has that."""
    protocol = _at_edges(draw, selector, "next_header", PROTOCOLS, 8)
    asks_for_ports = selector.start_source_port is not None
    asks_for_ports |= selector.start_destination_port is not None
    if selector.start_next_header is None and asks_for_ports and draw(st.booleans()):
        protocol = draw(st.sampled_from((6, 17, 132)))
    if protocol in NO_NEXT_HEADERS:
        protocol = 59
    ports: tuple[int | None, int | None] = (None, None)
    if protocol in WITH_PORTS and draw(st.integers(0, 7)):
        ports = (
            _at_edges(draw, selector, "source_port", _number(16), 16) or 1,
            _at_edges(draw, selector, "destination_port", _number(16), 16) or 1,
        )
    return PacketFields(
        _at_edges(draw, selector, "source_address", SOURCES, 128),
        _at_edges(draw, selector, "destination_address", DESTINATIONS, 128),
        protocol,
        *ports,
        traffic_class=_at_edges(draw, selector, "traffic_class", _number(8), 8),
        flow_label=_at_edges(draw, selector, "flow_label", _number(20), 20),
        spi=draw(_number(32)) if protocol == ESP else None,
    )


def seen_by_switches(
    selector: IPv6TrafficSelector, packet: PacketFields, first_fragment: bool = False
) -> bool:
    """Whether the selector matches what a switch can see of a packet: DCCP and UDP-Lite have no
    ports for it, first fragments no ports, and other fragments neither ports nor a next header."""
    ranges = (
        (selector.start_source_port, selector.end_source_port),
        (selector.start_destination_port, selector.end_destination_port),
    )
    if packet.protocol in (33, 136) and ranges != ((None, None), (None, None)):
        return False
    if first_fragment and not set(ranges) <= {(None, None), (0, 0xFFFF)}:
        return False
    if packet.protocol in WITH_PORTS and packet.source_port is None:
        next_header = (selector.start_next_header, selector.end_next_header)
        if next_header not in ((None, None), (0, 255)):
            return False
    return selector.matches(packet)
