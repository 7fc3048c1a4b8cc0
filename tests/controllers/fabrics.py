"""Fabrics for tests: that of the reference topology, and random ones."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

from hypothesis import strategies as st

from controllers.fabric import Fabric, FabricDescription, FabricNode, Link

LMA = IPv6Address("2001:db8:1::1")
MAG1 = IPv6Address("2001:db8:2::1")
MAG2 = IPv6Address("2001:db8:2::2")
MAG3 = IPv6Address("2001:db8:2::3")
HOME = IPv6Network("2001:db8:a::/64")
OTHER_HOME = IPv6Network("2001:db8:a:1::/64")


def node(name: str, address: IPv6Address, number: int, switch: str, port: int) -> FabricNode:
    mac = f"02:00:00:00:00:{number:02x}"
    return FabricNode(name=name, addresses=(address,), mac=mac, switch=switch, port=port)


def link(switch: str, port: int, peer: str, peer_port: int) -> Link:
    return Link(switch=switch, port=port, peer=peer, peer_port=peer_port)


def description() -> FabricDescription:
    """lma - s1 - s2 - s3 - mag1, s2 - s4 - mag2, and mag3 at s4 too."""
    return FabricDescription(
        switches=("s1", "s2", "s3", "s4"),
        links=(link("s1", 2, "s2", 1), link("s2", 2, "s3", 1), link("s2", 3, "s4", 1)),
        lma=node("lma", LMA, 1, "s1", 1),
        mags=(
            node("mag1", MAG1, 2, "s3", 2),
            node("mag2", MAG2, 3, "s4", 2),
            node("mag3", MAG3, 4, "s4", 3),
        ),
    )


def reference_fabric() -> Fabric:
    return Fabric(description())


@st.composite
def descriptions(draw: st.DrawFn) -> FabricDescription:
    """Connected, with loops, up to 8 switches and 5 MAGs; ports numbered by use."""
    count = draw(st.integers(1, 8))
    names = tuple(f"s{number}" for number in range(1, count + 1))
    free = dict.fromkeys(names, 1)

    def port(name: str) -> int:
        free[name] += 1
        return free[name] - 1

    pairs = [(names[draw(st.integers(0, index - 1))], names[index]) for index in range(1, count)]
    if count > 1:
        extra = st.tuples(st.sampled_from(names), st.sampled_from(names))
        pairs += [pair for pair in draw(st.lists(extra, max_size=6)) if pair[0] != pair[1]]
    links = tuple(link(one, port(one), other, port(other)) for one, other in pairs)
    links = tuple(draw(st.permutations(links)))
    places = draw(st.lists(st.sampled_from(names), min_size=2, max_size=6))
    first, *others = places
    return FabricDescription(
        switches=names,
        links=links,
        lma=node("lma", LMA, 1, first, port(first)),
        mags=tuple(
            node(f"mag{number}", MAG1 + number - 1, number + 1, place, port(place))
            for number, place in enumerate(others, 1)
        ),
    )


def fabrics() -> st.SearchStrategy[Fabric]:
    return descriptions().map(Fabric)
