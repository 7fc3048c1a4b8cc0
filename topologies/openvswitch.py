"""Open vSwitch for one run: an ovsdb-server and an ovs-vswitchd that nobody else knows of.

    with running(network, state, logs) as switches:
        print(switches.ofctl("dump-flows", "s1"))

All switches of a topology are bridges of one ovs-vswitchd, in the namespace that
`topologies.network` made for them. Database, sockets and pid files lie in `state`, a folder on a
file system that can hold sockets, and logs in `logs`; the system's own instance, its folders and
its namespace are never touched, and when the block is left nothing remains.

Bridges start in fail mode secure, with empty tables: nothing passes before a controller's rules.
The OpenFlow channel of each bridge (1.3, out of band) goes to the controller's address on the
switch's own link to it, so that the delay of that link is the delay of that channel. Start the
controller first: a refused connection is tried again after 1 s and more.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from topologies.model import Role
from topologies.namespaces import Child, fork_into, inside, mount_privately
from topologies.network import Network
from topologies.ovsdb import Row, Session, insert, mutate, named, ovsdb_map, ovsdb_set, select_rows
from topologies.plan import end_address, other_end
from topologies.switching import control_channels, datapath_ids, ports

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
TEMPORARY = Path("/tmp")
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
LIMIT_S = 30.0
EXIT_LIMIT_S = 10.0
# count_cpu_cores() of Open vSwitch (lib/ovs-thread.c) counts when the monotonic clock is 10 s past
# its last count, which at first is 0: one that starts in the first 10 s of a kernel has no core to
# handle the packets that the kernel asks it about, and all are lost.
CORES_ARE_COUNTED_S = 10.1
# What a process of Open vSwitch writes: a log file, and to standard error what is worse.
LOG_LEVELS = ("-vconsole:warn", "-vsyslog:off", "-vfile:info")
# Without a cache it would warn with many packets that there is no room in it.
UNCACHED_LOG_LEVELS = tuple(f"-vofproto_dpif_upcall:{where}:err" for where in ("console", "file"))

DATABASE_PROGRAM, SWITCH_PROGRAM = "ovsdb-server", "ovs-vswitchd"
MAX_IDLE_MS = 86_400_000
DATABASE_SOCKET = "db.sock"
INSTANCE, BRIDGES = "Open_vSwitch", "Bridge"
EMPTY = ["set", []]


class SwitchError(RuntimeError):
    """Open vSwitch is missing or did not do what it was told; the text says what and why."""


def program(name: str) -> str:
    """The path of a program of Open vSwitch. Raises SwitchError."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *SYSTEM_FOLDERS]
    path = shutil.which(name, path=os.pathsep.join(folders))
    if path is None:
        raise SwitchError(f"the program {name} is missing: run `make packages`")
    return path


class Switches:
    """The running switches. Made by `running`. Methods wait for Open vSwitch, some ms of real time;
    they raise SwitchError, OvsdbError or TimeoutError."""

    def __init__(self, network: Network, state: Path, logs: Path) -> None:
        self.network, self.topology = network, network.topology
        self.state, self.logs = state, logs
        self._processes: dict[str, Child] = {}
        self._session: Session | None = None
        self._environment = {
            "PATH": os.environ.get("PATH", ""),
            "OVS_RUNDIR": str(state),
            "OVS_DBDIR": str(state),
            "OVS_SYSCONFDIR": str(state),
            "OVS_LOGDIR": str(logs),
        }

    def start(self) -> None:
        """Start everything; called by `running`."""
        self.state.mkdir()
        self._session = self._start_database()
        if self.topology.switching.datapath == "netdev":
            self._finish_checksums()
        self._session.transact(self._instance())
        self._session.transact(*self._insert_bridges(self.topology.switches))
        self.start_switching()

    def stop(self) -> None:
        """End everything; called by `running`."""
        for name in (SWITCH_PROGRAM, DATABASE_PROGRAM):
            if child := self._processes.pop(name, None):
                child.terminate()
                child.wait(EXIT_LIMIT_S)
        if self._session is not None:
            self._session.close()
        shutil.rmtree(self.state, ignore_errors=True)

    def ended(self) -> list[str]:
        """The programs that should be running and are not."""
        return [
            name
            for name, child in self._processes.items()
            if select.select([child.pidfd], [], [], 0)[0]
        ]

    def start_switching(self) -> None:
        """Start ovs-vswitchd, after `kill_switching`; all bridges are there when it returns."""
        switching = self.topology.switching
        early = CORES_ARE_COUNTED_S - time.monotonic()
        if switching.datapath == "system" and early > 0:
            select.select([self._processes[DATABASE_PROGRAM].pidfd], [], [], early)
        arguments = [] if switching.flow_cache else [*UNCACHED_LOG_LEVELS]
        arguments += [] if switching.datapath == "system" else ["--disable-system"]
        arguments.append(f"unix:{self.state / DATABASE_SOCKET}")
        self._start(SWITCH_PROGRAM, arguments)
        self._settle()

    def kill_switching(self) -> None:
        """SIGKILL ovs-vswitchd: all switches are gone at once, and their tables with them."""
        child = self._processes.pop(SWITCH_PROGRAM)
        child.kill()
        child.wait(EXIT_LIMIT_S)

    def restart_switch(self, name: str) -> None:
        """Take one switch away and add it again, as a reboot would: its table is empty afterwards,
        and it connects to the controller anew."""
        (found,) = self._database.transact(select_rows(BRIDGES, ["_uuid"], name=name))
        gone = ovsdb_set([found["rows"][0]["_uuid"]])
        self._database.transact(mutate(INSTANCE, "bridges", "delete", gone))
        self._settle()
        self._database.transact(*self._insert_bridges([name]))
        self._settle()

    @property
    def controller_targets(self) -> dict[str, str]:
        """Where each switch finds its controller, in Open vSwitch's words."""
        targets = {}
        for switch, name in control_channels(self.topology).items():
            link = self.topology.links[name]
            address = end_address(self.topology, link, other_end(link, switch))
            targets[switch] = f"tcp:[{address}]:{self.topology.switching.openflow_port}"
        return targets

    def ofctl(self, command: str, name: str, *arguments: str) -> str:
        """What `ovs-ofctl COMMAND SWITCH ...` prints, as in ofctl("dump-flows", "s1")."""
        management = f"unix:{self.state / name}.mgmt"
        return self._ask("ovs-ofctl", "-O", "OpenFlow13", command, management, *arguments)

    def rule_count(self, name: str) -> int:
        found = re.search(r"flow_count=(\d+)", self.ofctl("dump-aggregate", name))
        if found is None:
            raise SwitchError(f"ovs-ofctl dump-aggregate {name} doesn't tell the number of rules")
        return int(found[1])

    def appctl(self, *arguments: str) -> str:
        """What `ovs-appctl ...` of ovs-vswitchd prints, as in appctl("dpctl/dump-flows")."""
        return self._ask("ovs-appctl", "-t", str(self.state / f"{SWITCH_PROGRAM}.ctl"), *arguments)

    def _ask(self, *command: str) -> str:
        result = subprocess.run(
            [program(command[0]), *command[1:]],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise SwitchError(f"{' '.join(command)}: {result.stderr.strip()}")
        return result.stdout

    @property
    def _database(self) -> Session:
        if self._session is None:
            raise SwitchError("Open vSwitch has not been started")
        return self._session

    def _start(self, name: str, arguments: list[str]) -> None:
        namespace = self.network.namespace(self.topology.switches[0])
        command = [
            program(name),
            *LOG_LEVELS,
            f"--log-file={self.logs / name}.log",
            f"--pidfile={self.state / name}.pid",
            f"--unixctl={self.state / name}.ctl",
            *arguments,
        ]
        log = self.logs / f"{name}.txt"
        self._processes[name] = fork_into(
            namespace, _become, command, self._environment, log=log, name=name
        )

    def _start_database(self) -> Session:
        file = str(self.state / "conf.db")
        self._ask("ovsdb-tool", "create", file, str(SCHEMA))
        # That the server connects to us says that it serves, which its start does not.
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.state / "session.sock"))
            listener.listen()
            remotes = ["unix:session.sock", f"punix:{DATABASE_SOCKET}"]
            self._start(DATABASE_PROGRAM, [*(f"--remote={remote}" for remote in remotes), file])
            child = self._processes[DATABASE_PROGRAM]
            ready, _, _ = select.select([listener.fileno(), child.pidfd], [], [], LIMIT_S)
            if listener.fileno() not in ready:
                raise SwitchError(f"{DATABASE_PROGRAM} did not start: {self._complaints(child)}")
            return Session(listener.accept()[0])

    def _settle(self) -> None:
        """Wait until ovs-vswitchd has carried out what the database says."""
        (_, found) = self._database.transact(
            mutate(INSTANCE, "next_cfg", "+=", 1),
            select_rows(INSTANCE, ["next_cfg"]),
        )
        self._database.await_value(INSTANCE, "cur_cfg", found["rows"][0]["next_cfg"])
        columns = ["name", "ofport", "ofport_request", "error"]
        (found,) = self._database.transact(select_rows("Interface", columns))
        wrong = [
            row["name"] + (f": {row['error']}" if row["error"] != EMPTY else "")
            for row in found["rows"]
            if row["ofport_request"] not in (EMPTY, row["ofport"])
        ]
        if wrong:
            raise SwitchError(
                f"{SWITCH_PROGRAM} can't add {', '.join(wrong)} to a bridge; is the datapath "
                f"{self.topology.switching.datapath!r} there? See {self.logs}"
            )

    def _complaints(self, child: Child) -> str:
        return child.log.read_text(errors="replace").strip() or f"see {self.logs}"

    def _instance(self) -> Row:
        # Threads of a number that doesn't depend on the machine.
        settings = {"n-handler-threads": "1", "n-revalidator-threads": "1"}
        if self.topology.switching.flow_cache:
            # No random insertions into the exact match cache. What the datapath has learnt of a
            # flow stays: the first packet after a pause would be some us later than others.
            settings |= {"emc-insert-inv-prob": "0", "max-idle": str(MAX_IDLE_MS)}
        else:
            settings["flow-limit"] = "0"
        return insert(INSTANCE, {"other_config": ovsdb_map(settings)}, "instance")

    def _insert_bridges(self, names: Iterable[str]) -> list[Row]:
        operations: list[Row] = []

        def add(table: str, **columns: Any) -> list[str]:
            name = f"row{len(operations)}"
            operations.append(insert(table, columns, name))
            return named(name)

        bridges = [self._insert_bridge(name, add) for name in names]
        operations.append(mutate(INSTANCE, "bridges", "insert", ovsdb_set(bridges)))
        return operations

    def _insert_bridge(self, name: str, add: Callable[..., list[str]]) -> list[str]:
        settings = self.topology.switching
        # Every bridge has an interface of its own, with its name.
        internal = add("Interface", name=name, type="internal")
        members = [add("Port", name=name, interfaces=internal)]
        # Without it, Open vSwitch would remove the netem of every port.
        untouched = add("QoS", type="linux-noop")
        for port in ports(self.topology)[name]:
            interface = add("Interface", name=port.interface, ofport_request=port.number)
            members.append(add("Port", name=port.interface, interfaces=interface, qos=untouched))
        controllers = []
        if target := self.controller_targets.get(name):
            controllers.append(
                add(
                    "Controller",
                    target=target,
                    connection_mode="out-of-band",
                    inactivity_probe=settings.inactivity_probe_ms,
                    max_backoff=settings.max_backoff_ms,
                )
            )
        datapath_id = datapath_ids(self.topology)[name]
        return add(
            BRIDGES,
            name=name,
            datapath_type=settings.datapath,
            ports=ovsdb_set(members),
            controller=ovsdb_set(controllers),
            fail_mode="secure",
            protocols="OpenFlow13",
            # Its own interface would have a random address.
            other_config=ovsdb_map(
                {
                    "datapath-id": f"{datapath_id:016x}",
                    "hwaddr": f"02:00:00:01:00:{datapath_id:02x}",
                }
            ),
        )

    def _finish_checksums(self) -> None:
        """Let the nodes on switches complete their checksums in software: ovs-vswitchd hands on the
        octets of a packet and not that its checksum is yet to be computed."""
        for own in ports(self.topology).values():
            for port in own:
                if not self.topology.has_role(port.peer, Role.SWITCH):
                    interface = self.topology.links[port.link].interface(port.peer)
                    with inside(self.network.namespace(port.peer)):
                        turn_off_checksum_offload(interface)


def turn_off_checksum_offload(interface: str) -> None:
    """What `ethtool -K INTERFACE tx off` does, in this thread's namespace. Raises OSError."""
    value = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STXCSUM, 0), 8)
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def _become(command: list[str], environment: Mapping[str, str]) -> None:
    # ovsdb-server needs a temporary file, which the C library makes there whatever TMPDIR says.
    if not os.access(TEMPORARY, os.W_OK):
        mount_privately(TEMPORARY)
    os.execve(command[0], command, environment)


@contextlib.contextmanager
def running(network: Network, state: Path, logs: Path) -> Iterator[Switches]:
    """Start the switches of `network` and end them with the block.

    `state` is a folder that doesn't exist yet, for sockets and database; it is removed.
    Raises SwitchError, OvsdbError, OSError.
    """
    switches = Switches(network, state, logs)
    try:
        switches.start()
        yield switches
    finally:
        switches.stop()
