"""`make conformance`: runs the suite, prints the table and writes it to results/conformance/.

Without LMA or MAG: the core-level tests, and the socket-level ones against this project's daemons
in a guest. With one of them: the socket-level tests against that node, from this machine.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from experiments.provenance import commit, versions
from tests.conformance import core
from tests.conformance.report import FAIL, Result, Results, all_rows, as_text, missing, write
from tests.conformance.sockets.carry_out import carry_out, merge
from tests.conformance.sockets.mn_link import Link
from tests.conformance.sockets.nodes_under_test import LmaUnderTest, MagUnderTest
from tests.conformance.sockets.peer import Peer

FOLDER = Path("results") / "conformance"
NO_RIGHT = (
    "error: raw sockets need CAP_NET_RAW. Run it as root, or give it to the interpreter for the"
    " time of the test: sudo make conformance ..."
)


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    about: dict[str, Any] = {**commit(), "versions": versions()}
    if options.lma or options.mag:
        return _external(options, about)
    print("Conformance suite: core level, then daemons in a guest; about 20 s", flush=True)
    core_results, problems = core.run()
    socket_results, kernel = _in_guests()
    about["guest kernel"] = kernel
    problems += missing(core_results, socket_results, ("core", "sockets"))
    return _finish(core_results, socket_results, about, problems)


def _in_guests() -> tuple[Results, str]:
    from experiments.engines.kernel_cache import find_kernel
    from tests.system.guests import carry_out_check

    kernel = find_kernel()
    found = []
    for node in ("lma", "mag"):
        with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
            results = carry_out_check(kernel, Path(name), f"conformance_checks.{node}")
        found.append((node, {rule: Result(**result) for rule, result in results.items()}))
    return merge(*found), kernel.version


def _external(options: argparse.Namespace, about: dict[str, Any]) -> int:
    """The node is somebody else's, and so are its addresses and what it may do."""
    limit = "6 min" if options.lma else "5 min"
    print(f"Socket-level conformance tests; up to {limit}", flush=True)
    try:
        own = _peer(options.own)
        other, stranger = _peer(options.other_mag), _peer(options.stranger)
        link = Link(options.mn_interface) if options.mn_interface else None
    except PermissionError:
        print(NO_RIGHT, file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if own is None:
        print("error: OWN: say which address of this machine the node knows", file=sys.stderr)
        return 2
    node: LmaUnderTest | MagUnderTest
    if options.lma:
        node = LmaUnderTest(
            options.lma,
            mag=own,
            mn=options.mn,
            other_mag=other,
            stranger=stranger,
            other_mn=options.other_mn,
            disabled_mn=options.disabled_mn,
        )
    else:
        node = MagUnderTest(
            options.mag,
            lma=own,
            mn=options.mn,
            prefix=options.prefix,
            other_prefix=options.other_prefix,
            attach_mn=_command(options.attach),
            detach_mn=_command(options.detach),
            stranger=stranger,
            mn_link=link,
        )
    about["node"] = f"{'LMA' if options.lma else 'MAG'} {node.address}"
    return _finish({}, carry_out(node, print), about, [])


def _peer(address: IPv6Address | None) -> Peer | None:
    return None if address is None else Peer(address)


def _command(words: str | None) -> Callable[[], None] | None:
    if not words:
        return None
    return lambda: subprocess.run(shlex.split(words), check=True) and None


def _finish(
    core_results: Results, socket_results: Results, about: dict[str, Any], problems: list[str]
) -> int:
    tables = all_rows(core_results, socket_results)
    about = {"date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), **about}
    write(FOLDER, tables, about)
    print(as_text(tables))
    for problem in problems:
        print(f"problem: {problem}")
    print(f"\nThe table with the rules' texts is in {FOLDER}/table.md, as data in table.json.")
    failed = any(row.verdict == FAIL for table in tables.values() for row in table)
    return 1 if failed or problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    node = parser.add_mutually_exclusive_group()
    node.add_argument("--lma", type=IPv6Address, help="test this LMA")
    node.add_argument("--mag", type=IPv6Address, help="test this MAG")
    for name, what in (
        ("--own", "this machine's address that the node under test takes for its MAG or LMA"),
        ("--other-mag", "a second one that an LMA takes for a MAG"),
        ("--stranger", "one that the node under test doesn't know"),
    ):
        parser.add_argument(name, type=IPv6Address, help=what)
    parser.add_argument("--mn", default="mn1@example.org", help="MN-ID that may use the service")
    parser.add_argument("--other-mn", help="a second one")
    parser.add_argument("--disabled-mn", help="one without permission")
    for name, prefix, what in (
        ("--prefix", "2001:db8:100:1::/64", "prefix that the MAG under test is given"),
        ("--other-prefix", "2001:db8:100:2::/64", "one that it is given with the L bit"),
    ):
        parser.add_argument(name, type=IPv6Network, default=IPv6Network(prefix), help=what)
    parser.add_argument("--attach", help="command that attaches the MN to the MAG")
    parser.add_argument("--detach", help="command that detaches it")
    parser.add_argument("--mn-interface", help="this machine's interface on that link")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
