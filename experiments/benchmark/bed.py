"""Three network namespaces in a row: a correspondent node, the LMA, and all MAGs in one."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import NamedTuple

from topologies import netlink
from topologies.hosts import set_sysctls
from topologies.namespaces import create, inside

LMA, CN = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:1::2")
# The LMA's own side of the link to the correspondent node, and the MAGs' network.
CN_ROUTER, MAGS_ROUTER = IPv6Address("2001:db8:1::1"), IPv6Address("2001:db8:11::ffff")
POOL = IPv6Network("2001:db8:100::/48")
FORWARDING = {"ipv6/conf/all/forwarding": 1, "ipv6/conf/default/forwarding": 1}


class Bed(NamedTuple):
    """Namespaces, as descriptors. `mags` are the Proxy-CoAs."""

    cn: int
    lma: int
    access: int
    mags: tuple[IPv6Address, ...]


def mag_address(number: int) -> IPv6Address:
    """Of the MAG with this number, from 1 on."""
    return IPv6Address(int(IPv6Address("2001:db8:11::")) + number)


@contextlib.contextmanager
def bed(mags: int) -> Iterator[Bed]:
    """The namespaces with their links, addresses and routes, for the time of the block."""
    descriptors = [create() for _ in range(3)]
    cn, lma, access = descriptors
    addresses = tuple(mag_address(number) for number in range(1, mags + 1))
    try:
        for namespace in descriptors:
            set_sysctls(namespace, FORWARDING)
        _connect(cn, "cn-lma", 1, lma, "lma-cn")
        _connect(lma, "lma-mags", 2, access, "mags-lma")
        _address(cn, "cn-lma", CN, 64)
        _address(lma, "lma-cn", CN_ROUTER, 64)
        _address(lma, "lma-mags", MAGS_ROUTER, 64)
        _address(lma, "lma-mags", LMA, 128)
        for address in addresses:
            _address(access, "mags-lma", address, 64)
        for namespace, interface, gateway in (
            (cn, "cn-lma", CN_ROUTER),
            (access, "mags-lma", MAGS_ROUTER),
        ):
            index = _index(namespace, interface)
            netlink.send(namespace, [netlink.add_route(None, gateway, index)])
        yield Bed(cn, lma, access, addresses)
    finally:
        for namespace in descriptors:
            os.close(namespace)


def _connect(one: int, name: str, number: int, other: int, peer: str) -> None:
    mac = f"02:00:00:00:{number:02x}:"
    netlink.send(one, [netlink.new_veth(name, mac + "01", peer, mac + "02", other)])
    for namespace, interface in ((one, name), (other, peer)):
        netlink.send(namespace, [netlink.set_link(interface, True)])
        lo = netlink.set_link("lo", True)
        netlink.send(namespace, [lo])


def _address(namespace: int, interface: str, address: IPv6Address, length: int) -> None:
    request = netlink.add_address(_index(namespace, interface), address, length)
    netlink.send(namespace, [request])


def _index(namespace: int, interface: str) -> int:
    with inside(namespace):
        return socket.if_nametoindex(interface)


class Memory(NamedTuple):
    """In octets: what the kernel has taken of the machine's, and what this process has."""

    kernel: int
    own: int

    def since(self, before: Memory) -> Memory:
        return Memory(self.kernel - before.kernel, self.own - before.own)


def memory(process: int | None = None) -> Memory:
    """Now; `own` is that of `process`, or of this one. The kernel's is what it has for objects of
    its own (slabs, per-CPU areas, vmalloc)."""
    found = {}
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, value = line.split(":")
        found[name] = int(value.split()[0]) << 10
    kernel = found["Slab"] + found["Percpu"] + found["VmallocUsed"]
    return Memory(kernel, _resident(process or os.getpid()))


def _resident(process: int) -> int:
    fields = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
