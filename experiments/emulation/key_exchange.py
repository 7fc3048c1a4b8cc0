"""IKEv2 (RFC 7296) between LMA and MAGs: strongSwan's charon in the namespace of each.

The daemons' policies ask for associations by request identifier; charon makes these, and no policy.
It is the run's alone: its configuration and sockets lie in the run's own folder, its pid file in
one that nobody else sees, and it ends with the run.
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from experiments.declaration.job import esp_keys
from experiments.declaration.spec import RunSpec
from nodes.ipsec.policies import request_identifiers
from nodes.ipsec.security_associations import table, write_private
from nodes.kernel.confinement import CAP_NET_BIND_SERVICE, NETWORK, drop_capabilities
from nodes.kernel.netlink import NETLINK_XFRM, open_channel
from nodes.kernel.xfrm import IPPROTO_MOBILITY, associations
from topologies.model import Role, Topology
from topologies.namespaces import Child, fork_into, inside, mount_privately

if TYPE_CHECKING:
    # Mininet takes over logging of the process that imports it, and the runner needs it not.
    from topologies.network import Network

CHARON, SWANCTL = Path("/usr/lib/ipsec/charon"), Path("/usr/sbin/swanctl")
# Where charon puts its pid file, whatever its configuration says.
PID_FOLDER = Path("/run")
PLUGINS = "random nonce openssl aes sha2 hmac kdf gcm kernel-netlink socket-default vici"
# RFC 8247 and RFC 8221: what MUST or SHOULD be there, without a choice that would change a run.
IKE_PROPOSAL, ESP_PROPOSAL = "aes256gcm16-prfsha256-ecp256", "aes256gcm16"
CHILD_SA = "signalling"
START_LIMIT_S, EXCHANGE_LIMIT_S, LOOK_AGAIN_S = 10.0, 30.0, 0.01
SECRET_OCTETS = 32


class KeyExchangeError(RuntimeError):
    """strongSwan is missing or did not do what it was told; the text says what and why."""


class Member(NamedTuple):
    """An LMA or MAG, and those that it has associations with, by name."""

    name: str
    address: IPv6Address
    peers: Mapping[str, IPv6Address]


def members(topology: Topology) -> list[Member]:
    """The LMA, and then the MAGs: these begin the exchanges (RFC 5213 section 4.2)."""
    lma = topology.node_with_role(Role.LMA)
    mags = [name for name, node in topology.nodes.items() if node.role is Role.MAG]

    def member(name: str, peers: Sequence[str]) -> Member:
        return Member(name, _address(topology, name), {p: _address(topology, p) for p in peers})

    return [member(lma, mags), *(member(mag, [lma]) for mag in mags)]


def lacking_programs() -> str | None:
    """What this machine lacks, with the remedy."""
    for program in (CHARON, SWANCTL):
        if not program.exists():
            return f"{program} is missing: run `make packages`"
    return None


def exchange_keys(
    network: Network, spec: RunSpec, seed: int, state: Path, folder: Path, started: list[Child]
) -> None:
    """When this returns, all associations are there, and in the run's key file. The processes that
    keep them are added to `started`. Raises KeyExchangeError, OSError and TimeoutError."""
    if lacking := lacking_programs():
        raise KeyExchangeError(lacking)
    found = members(spec.topology)
    for member in found:
        write_private(_file(state, member, "conf"), configuration(member, state))
        write_private(_file(state, member, "swanctl"), connections(member, seed))
        child = fork_into(
            network.namespace(member.name),
            _charon,
            _file(state, member, "conf"),
            log=folder / "logs" / f"ike-{member.name}.txt",
            name=f"ike-{member.name}",
        )
        started.append(child)
        _wait_until_it_listens(child, _file(state, member, "vici"))
        _swanctl(state, member, "--load-all", "--file", str(_file(state, member, "swanctl")))
    for member in found[1:]:
        for peer in member.peers:
            _swanctl(state, member, "--initiate", "--child", CHILD_SA, "--ike", peer)
    with inside(network.namespace(found[0].name)), open_channel(NETLINK_XFRM) as channel:
        write_private(esp_keys(folder), table(associations(channel)))


def configuration(member: Member, state: Path) -> str:
    """strongswan.conf of both programs: what they need, and nothing that the machine has."""
    return f"""charon {{
  load = {PLUGINS}
  install_routes = no
  install_virtual_ip = no
  plugins {{
    vici {{
      socket = unix://{_file(state, member, "vici")}
    }}
  }}
  filelog {{
    stderr {{
      default = 1
    }}
  }}
}}
swanctl {{
  load = random
}}
"""


def connections(member: Member, seed: int) -> str:
    """swanctl.conf: Mobility Headers in transport mode, with policies that the daemons have."""
    reqids = request_identifiers(member.peers.values())
    lines = ["connections {"]
    for name, peer in member.peers.items():
        lines += [
            f"  {name} {{",
            "    version = 2",
            "    mobike = no",
            f"    local_addrs = {member.address}",
            f"    remote_addrs = {peer}",
            f"    proposals = {IKE_PROPOSAL}",
            *_block("local", auth="psk", id=member.address),
            *_block("remote", auth="psk", id=peer),
            "    children {",
            *_block(
                CHILD_SA,
                mode="transport",
                policies="no",
                reqid=reqids[peer],
                local_ts=f"{member.address}/128[{IPPROTO_MOBILITY}]",
                remote_ts=f"{peer}/128[{IPPROTO_MOBILITY}]",
                esp_proposals=ESP_PROPOSAL,
            ),
            "    }",
            "  }",
        ]
    lines += ["}", "secrets {"]
    for name, peer in member.peers.items():
        ends = {"id-1": member.address, "id-2": peer}
        lines += _block(f"ike-{name}", **ends, secret=_secret(seed, member.address, peer))
    return "\n".join([*lines, "}", ""])


def _block(name: str, **values: object) -> list[str]:
    """A section of a swanctl.conf."""
    return [f"    {name} {{", *(f"      {key} = {value}" for key, value in values.items()), "    }"]


def _secret(seed: int, *ends: IPv6Address) -> str:
    """Of a pair, whichever of them asks."""
    text = f"IKE {seed} {min(ends)} {max(ends)}".encode()
    return f"0x{hashlib.blake2b(text, digest_size=SECRET_OCTETS).hexdigest()}"


def _address(topology: Topology, name: str) -> IPv6Address:
    address = topology.nodes[name].address
    assert address is not None
    return address


def _file(state: Path, member: Member, kind: str) -> Path:
    return state / f"ike-{member.name}.{kind}"


def _charon(settings: Path) -> None:
    mount_privately(PID_FOLDER)
    drop_capabilities({*NETWORK, CAP_NET_BIND_SERVICE})
    environment = {"PATH": os.environ.get("PATH", ""), "STRONGSWAN_CONF": str(settings)}
    os.execve(CHARON, [CHARON.name], environment)


def _wait_until_it_listens(child: Child, path: Path) -> None:
    limit = time.monotonic() + START_LIMIT_S
    while not _listens(path):
        ended = select.select([child.pidfd], [], [], LOOK_AGAIN_S)[0]
        if ended or time.monotonic() > limit:
            said = child.log.read_text(errors="replace").strip()
            raise KeyExchangeError(f"{child.name} did not start: {said[-500:]}")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        return trial.connect_ex(str(path)) == 0


def _swanctl(state: Path, member: Member, *arguments: str) -> None:
    command = [str(SWANCTL), *arguments, "--uri", f"unix://{_file(state, member, 'vici')}"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=EXCHANGE_LIMIT_S,
        check=False,
        env={"STRONGSWAN_CONF": str(_file(state, member, "conf"))},
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        raise KeyExchangeError(f"{member.name}: swanctl {arguments[0]}: {said[-500:]}")
