"""What the nodes advertise and forward, as their links see it."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

from experiments.engines.kernel_cache import Kernel
from tests.system import wire
from tests.system.guests import carry_out_check, make_job, put_job

MAG_ADDRESS = IPv6Address("fe80::200:5eff:fe00:5213")
MAG_LINK_LAYER = bytes.fromhex("00005e005213")
ALL_NODES = IPv6Address("ff02::1")
MN_ADDRESS = {
    "wlan": IPv6Address("fe80::ff:fe00:502"),
    "cell": IPv6Address("fe80::ff:fe00:602"),
}
PREFIX_INFORMATION, MTU, SOURCE_LINK_LAYER_ADDRESS = 3, 5, 1
TUNNEL_MTU = 1460
CN, LMA, MAG2 = (IPv6Address(a) for a in ("2001:db8:1::2", "2001:db8:10::1", "2001:db8:12::1"))
LMA_OF_CN = IPv6Address("2001:db8:1::1")
EVERY_LINK = ("cn-lma", "lma-core", "core-mag1", "core-mag2", "mn-wlan", "mn-cell")


def _options(advertisement: wire.Datagram) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    rest = advertisement.payload[16:]
    while rest:
        size = rest[1] * 8
        found.setdefault(rest[0], []).append(rest[2:size])
        rest = rest[size:]
    return found


def test_router_advertisements(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 5213 section 6.9.2, with the addresses of RFC 6543, before and after an FMI."""
    folder = put_job(tmp_path, make_job())
    result = carry_out_check(kernel, folder, "forwarding_checks.advertisements")
    assert result["answers"][0]["ok"] is True
    prefixes = {entry["access"]: entry["prefixes"] for entry in result["bindings"]}
    moved = {entry["access"]: entry["flow_mobility_prefixes"] for entry in result["bindings"]}
    assert moved == {"wlan": [], "cell": prefixes["wlan"]}, "the FMI's prefix is at the cell's MAG"
    for access in ("wlan", "cell"):
        capture = folder / "wire" / f"mn-{access}.pcapng"
        assert wire.complaints(capture) == []
        found = [
            datagram
            for datagram in wire.at(wire.read(capture), f"mn-{access}", outbound=False)
            if datagram.next_header == wire.ICMPV6
            and datagram.payload[0] == wire.ROUTER_ADVERTISEMENT
        ]
        # After the registration, for the MN's own solicitation, and for the check's.
        assert len(found) >= 2
        destinations = {datagram.destination for datagram in found}
        assert MN_ADDRESS[access] in destinations, "a solicitation is answered by unicast"
        assert destinations <= {MN_ADDRESS[access], ALL_NODES}
        for datagram in found:
            assert datagram.source == MAG_ADDRESS
            assert datagram.link_source == MAG_LINK_LAYER
            assert datagram.hop_limit == 255
            options = _options(datagram)
            assert options[SOURCE_LINK_LAYER_ADDRESS] == [MAG_LINK_LAYER]
            (mtu,) = options[MTU]
            assert int.from_bytes(mtu, "big") == TUNNEL_MTU
            advertised = [
                f"{IPv6Address(option[14:30])}/{option[0]}"
                for option in options[PREFIX_INFORMATION]
            ]
            assert advertised == prefixes[access]
            # On-link and autonomous.
            assert [option[1] >> 6 for option in options[PREFIX_INFORMATION]] == [0b11]
            assert int.from_bytes(datagram.payload[6:8], "big") > 0, "a default router"


def test_big_packets_are_refused_not_fragmented(kernel: Kernel, tmp_path: Path) -> None:
    folder = put_job(tmp_path, make_job())
    errors = carry_out_check(kernel, folder, "forwarding_checks.oversized")
    assert errors == {
        "cn probe 1412": "",
        "cn probe 1413": "",
        "cn probe 1452": "",
        "cn probe 1453": "EMSGSIZE",
        # By now the CN has been told the path's MTU.
        "cn no-fragment 1412": "",
        "cn no-fragment 1413": "EMSGSIZE",
        "cn no-fragment 1452": "EMSGSIZE",
        "mn no-fragment 1412": "",
        "mn no-fragment 1413": "EMSGSIZE",
        "mn no-fragment 1452": "EMSGSIZE",
        "mn no-fragment 1453": "EMSGSIZE",
    }
    links = {name: wire.read(folder / "wire" / f"{name}.pcapng") for name in EVERY_LINK}
    for name, datagrams in links.items():
        assert datagrams, name
        for datagram in datagrams:
            assert datagram.next_header != wire.FRAGMENT
            assert datagram.innermost.next_header != wire.FRAGMENT
            assert datagram.length <= 1500
    refusals = [
        datagram
        for datagram in wire.at(links["cn-lma"], "cn-lma", outbound=False)
        if datagram.next_header == wire.ICMPV6 and datagram.payload[0] == wire.PACKET_TOO_BIG
    ]
    assert len(refusals) == 2
    assert {datagram.source for datagram in refusals} == {LMA_OF_CN}
    assert {int.from_bytes(d.payload[4:8], "big") for d in refusals} == {TUNNEL_MTU}
    sizes = {
        name: [
            datagram.length - 48
            for datagram in wire.at(links[name], name, outbound=False)
            if datagram.next_header == wire.UDP
        ]
        for name in ("mn-wlan", "mn-cell", "cn-lma")
    }
    assert sizes == {"mn-wlan": [1412, 1412], "mn-cell": [], "cn-lma": [1412]}


def _case(datagram: wire.Datagram) -> int | None:
    payload = datagram.innermost.payload[8:]
    return int(payload[5:]) if payload.startswith(b"case ") else None


def test_mag_drops_what_comes_from_unregistered_addresses(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 5213 section 6.10.5: a packet reaches the LMA only from a prefix of that access."""
    folder = put_job(tmp_path, make_job())
    sources = carry_out_check(kernel, folder, "forwarding_checks.spoofed")
    names = list(sources)
    seen = {
        name: [
            (names[case], datagram)
            for datagram in wire.read(folder / "wire" / f"{name}.pcapng")
            if (case := _case(datagram)) is not None
        ]
        for name in EVERY_LINK
    }
    assert [name for name, _ in seen["mn-cell"]] == names, "all of them were sent"
    registered = ["registered", "registered, other host"]
    for link in ("core-mag2", "lma-core", "cn-lma"):
        assert [name for name, _ in seen[link]] == registered
    assert not seen["core-mag1"]
    assert not seen["mn-wlan"]
    for _, datagram in seen["lma-core"]:
        assert (datagram.source, datagram.destination) == (MAG2, LMA)
        assert datagram.inner is not None
        assert datagram.inner.destination == CN


def test_mag_sends_nothing_back_that_came_out_of_the_tunnel(kernel: Kernel, tmp_path: Path) -> None:
    folder = put_job(tmp_path, make_job())
    destinations = carry_out_check(kernel, folder, "forwarding_checks.strays")
    names = list(destinations)
    for link in EVERY_LINK:
        datagrams = wire.read(folder / "wire" / f"{link}.pcapng")
        here = [(d.outbound, names[c]) for d in datagrams if (c := _case(d)) is not None]
        expected = {
            # The LMA's and the core router's interfaces towards mag2.
            "lma-core": [(True, name) for name in names],
            "core-mag2": [(True, name) for name in names],
            "mn-cell": [(False, "registered")],
        }
        assert here == expected.get(link, []), link


def test_tunnels_of_the_lma_treat_ecn_with_full_functionality(
    kernel: Kernel, tmp_path: Path
) -> None:
    """RFC 5213 section 5.6.3, RFC 3168 section 9.1.1."""
    folder = put_job(tmp_path, make_job())
    carry_out_check(kernel, folder, "forwarding_checks.congestion")
    links = {name: wire.read(folder / "wire" / f"{name}.pcapng") for name in ("lma-core", "cn-lma")}
    tunneled = {
        case: (datagram.traffic_class, datagram.innermost.traffic_class)
        for datagram in links["lma-core"]
        if datagram.source == LMA and (case := _case(datagram)) is not None
    }
    # Not-ECT and ECT are copied to the outer header, and CE becomes ECT(0) there.
    assert tunneled == {0: (0, 0), 1: (1, 1), 2: (2, 2), 3: (2, 3)}
    arrived = {
        divmod(case - 10, 10): datagram.traffic_class
        for datagram in links["cn-lma"]
        if (case := _case(datagram)) is not None and case >= 10
    }
    # CE on the outside marks ECT inside, and drops what can't be marked; all else is as it was.
    not_ect, ce = 0, 3
    expected = {
        (outer, inner): ce if outer == ce else inner for outer in range(4) for inner in range(4)
    }
    del expected[ce, not_ect]
    # Linux follows RFC 6040 section 4.2, which replaced RFC 3168's rules, here: see decisions.md.
    ect_1, ect_0 = 1, 2
    expected[ect_1, ect_0] = ect_1
    assert arrived == expected
