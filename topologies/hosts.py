"""Mininet's host, interface and link, made without processes and commands.

A stock Mininet host starts `mnexec` and an interactive bash, and every `cmd()` through it costs
14 ms in the guest. These make the namespace and its links with system calls of this process, and
start a node's shell when somebody first types a command for it.
"""

# Mininet's names and argument lists are overridden here as they are.
# ruff: noqa: N802, N803

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topologies import netlink
from topologies.namespaces import create, enter, inside

# Mininet imports distutils for one version number; setuptools' stand-in for distutils takes 0.35 s
# of real time to import in the guest, the standard library's (up to Python 3.11) 0.01 s.
_stand_in = sys.modules.get("_distutils_hack") if sys.version_info < (3, 12) else None
if _stand_in is not None:
    _stand_in.remove_shim()
from mininet.link import Intf, Link  # noqa: E402
from mininet.node import Host  # noqa: E402

if _stand_in is not None:
    _stand_in.add_shim()

# mnexec closes every possible descriptor one by one, up to this limit.
SHELL_DESCRIPTORS = 256
SYSCTL_ROOT = Path("/proc/sys/net")


def set_sysctls(namespace: int, sysctls: Mapping[str, int]) -> None:
    """Set values below /proc/sys/net in a namespace. Raises OSError."""
    with inside(namespace):
        for key, value in sysctls.items():
            (SYSCTL_ROOT / key).write_text(str(value), encoding="ascii")


class NamespaceHost(Host):  # type: ignore[misc]
    """A host whose namespace is a descriptor, `namespace`.

    `sysctls` (below /proc/sys/net) are set before the host has an interface, so that its
    interfaces inherit the defaults. `share` is the descriptor of a namespace to use instead of a
    new one; it stays the caller's.
    """

    def __init__(
        self, name: str, sysctls: Mapping[str, int], share: int | None = None, **params: Any
    ) -> None:
        self.namespace: int | None = create() if share is None else os.dup(share)
        try:
            set_sysctls(self.namespace, sysctls)
            super().__init__(name, **(params | {"inNamespace": False}))
        except BaseException:
            self._close()
            raise

    @classmethod
    def checkSetup(cls) -> None:
        """Nothing: Mininet's own check would end the program for want of ifconfig."""

    def startShell(self, mnopts: str | None = None) -> None:
        """Called by Mininet when it makes the host. The shell starts when it is needed."""

    def need_shell(self) -> None:
        """Start the node's shell if it has none. FileNotFoundError if `mnexec` is missing."""
        if self.shell is None:
            super().startShell()

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:
        self.need_shell()
        super().sendCmd(*args, **kwargs)

    def popen(self, *args: Any, **kwargs: Any) -> Any:
        # Mininet enters the namespace through the shell's process.
        self.need_shell()
        return super().popen(*args, **kwargs)

    def _popen(self, cmd: list[str], **params: Any) -> Any:
        def prepare() -> None:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            soft = SHELL_DESCRIPTORS
            if hard != resource.RLIM_INFINITY:
                soft = min(soft, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            if self.namespace is not None:
                enter(self.namespace)

        return super()._popen(cmd, preexec_fn=prepare, **params)

    def configDefault(self, **_moreParams: Any) -> None:
        """Nothing: Mininet would set IPv4 addresses with one command each."""

    def terminate(self) -> None:
        super().terminate()
        self._close()

    def _close(self) -> None:
        if self.namespace is not None:
            os.close(self.namespace)
            self.namespace = None


class SwitchNode(NamespaceHost):
    """A switch as Mininet sees it. What switches is `topologies.openvswitch`; its process, and so
    the ports of all switches, are in one namespace, which their shells enter."""

    def stop(self, deleteIntfs: bool = True) -> None:
        """Nothing: its interfaces go with the links, its bridge with Open vSwitch."""


class PlannedIntf(Intf):  # type: ignore[misc]
    """An interface that is configured elsewhere. The prompt puts `ip` for its node's name."""

    def config(self, **_params: Any) -> dict[str, Any]:
        return {}

    def updateIP(self) -> str | None:
        return self.ip  # type: ignore[no-any-return]

    def updateMAC(self) -> str | None:
        return self.mac  # type: ignore[no-any-return]

    def updateAddr(self) -> tuple[str | None, str | None]:
        return self.ip, self.mac

    def delete(self) -> None:
        self.node.delIntf(self)
        self.link = None


class VethLink(Link):  # type: ignore[misc]
    """A veth pair between two NamespaceHosts, both ends down."""

    @classmethod
    def makeIntfPair(
        cls,
        intfname1: str,
        intfname2: str,
        addr1: str,
        addr2: str,
        node1: NamespaceHost,
        node2: NamespaceHost,
        deleteIntfs: bool = True,
    ) -> None:
        assert node1.namespace is not None
        assert node2.namespace is not None
        netlink.send(
            node1.namespace,
            [netlink.new_veth(intfname1, addr1, intfname2, addr2, node2.namespace)],
        )

    def delete(self) -> None:
        if self.intf1 is None:
            return
        try:
            netlink.send(self.intf1.node.namespace, [netlink.delete_link(self.intf1.name)])
        except netlink.NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise
        super().delete()
