"""What switches and their database say, and how rules are shown to people."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

from os_ken.ofproto import ofproto_v1_3, ofproto_v1_3_parser

from controllers.fabric import Fabric
from controllers.flow_entries import rule_of
from controllers.openflow import Match
from controllers.rule_text import Known, describe, match_text
from controllers.switch_table import Table, owner_of
from tests.controllers.fabrics import description
from tests.fuzz.target import Target, channel_with
from topologies.ovsdb import OvsdbError, Session

REFERENCE = Fabric(description())


def match(data: bytes) -> None:
    """Fields as a switch, or the controller's listing, has them."""
    fields = json.loads(data)
    if isinstance(fields, Mapping):
        found = Match.from_openflow(fields)
        assert match_text(found)
        assert Match.from_openflow(found.to_openflow()) == found


def flow_statistics(data: bytes) -> None:
    """The body of a multipart reply with rules. That the framework can't read it ends the switch's
    connection; what it can read makes a rule, or is said not to."""
    entry = None
    with suppress(Exception, _TooLong), _at_most(0.2):
        entry = ofproto_v1_3_parser.OFPFlowStats.parser(data, 0)
    if entry is not None:
        rule = rule_of(entry)
        describe(Known(REFERENCE), "s1", rule)
        owner = owner_of(rule)
        table = Table([rule])
        assert len(table) == (owner is not None)
        list(table.overlapping(rule.match))
        table.remove(rule.identity)
        assert not len(table)


class _TooLong(BaseException):
    """No Exception: the framework's parser catches those, and goes on."""


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Of this process' time. The framework's parser doesn't end if the length of an instruction or
    an action is 0: docs/security.md has that among what is not covered."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _TooLong

    signal.signal(signal.SIGVTALRM, end)
    # Again and again: what is raised while garbage is collected is lost.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def database(data: bytes) -> None:
    """Replies of an OVSDB server, in pieces."""
    at = data[0] if data else 0
    session = Session(channel_with(data[1 : 1 + at], data[1 + at :]))
    session.transact({"op": "select"})
    session.await_value("Open_vSwitch", "cur_cfg", 1)


def _matches() -> Iterator[bytes]:
    for fields in (
        {"eth_type": 0x86DD, "ipv6_dst": ["2001:db8::", "ffff:ffff:ffff:ffff::"], "ip_proto": 17},
        {"eth_type": 0x86DD, "udp_dst": [80, 65535], "ipv6_flabel": 7, "ip_dscp": 3, "in_port": 2},
        {"ipv6_src": "2001:db8::1", "tcp_src": 5, "sctp_dst": [8, 65528]},
    ):
        yield json.dumps(fields).encode()


def _statistics() -> Iterator[bytes]:
    parser, ofproto = ofproto_v1_3_parser, ofproto_v1_3
    for cookie in (0, 0x464D_0000_0000_0000, 0x464D_0100_0000_0007, 0x464D_0200_0000_0007):
        matched = parser.OFPMatch(
            eth_type=0x86DD, ipv6_dst=("2001:db8::", "ffff:ffff:ffff:ffff::"), ip_proto=17
        )
        actions = [parser.OFPActionSetField(ipv6_dst="2001:db8::1"), parser.OFPActionOutput(3)]
        made = [
            parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions),
            parser.OFPInstructionGotoTable(1),
        ]
        reply = bytearray()
        matched.serialize(reply, 48)
        for instruction in made:
            instruction.serialize(reply, len(reply))
        length = len(reply)
        head = length.to_bytes(2, "big") + bytes(14) + bytes(8) + cookie.to_bytes(8, "big")
        yield bytes(head + bytes(16) + reply[48:])


def _database() -> Iterator[bytes]:
    first = b'{"id":1,"result":[{"rows":[]}],"error":null}'
    monitor = b'{"id":2,"result":{"Open_vSwitch":{"u":{"new":{"cur_cfg":0}}}},"error":null}'
    update = {"method": "update", "params": ["m", {"Open_vSwitch": {"u": {"new": {"cur_cfg": 1}}}}]}
    end = b'{"id":3,"result":{},"error":null}'
    echo = b'{"id":"echo","method":"echo","params":[]}'
    yield b"\x20" + first + echo + monitor + json.dumps(update).encode() + end
    yield b"\x80" + b'{"id":1,"result":[{"error":"x","details":"y"}],"error":null}'


TARGETS = {
    "openflow-match": Target(match, (ValueError,), 384, _matches),
    "flow-statistics": Target(flow_statistics, (ValueError,), 384, _statistics),
    "switch-database": Target(database, (OvsdbError,), 512, _database),
}
