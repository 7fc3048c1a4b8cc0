"""What both LMA and MAG have to do with any Mobility Header."""

from __future__ import annotations

from nodes.wire.messages import BindingError, Heartbeat, Message
from tests.conformance.sockets.nodes_under_test import NodeUnderTest
from tests.conformance.sockets.outcome import expect, expect_equal

NO_NEXT_HEADER, UDP = 59, 17
IPV6_HEADER = 40
UNASSIGNED_TYPE = 0xF0
HEARTBEAT = 13
UNRECOGNIZED_TYPE = 2


def header(mh_type: int, data: bytes, *, protocol: int = NO_NEXT_HEADER) -> bytes:
    """A Mobility Header of 8 octets times some, with the checksum left to the kernel."""
    assert (6 + len(data)) % 8 == 0
    return bytes([protocol, (6 + len(data)) // 8 - 1, mh_type, 0, 0, 0]) + data


def beat(sequence: int) -> bytes:
    """The data of a Heartbeat Request."""
    return bytes(2) + sequence.to_bytes(4, "big") + bytes([1, 2, 0, 0])


def test_rfc6275_9_2_02_wrong_checksum_is_discarded(node: NodeUnderTest) -> None:
    node.peer.drain()
    octets = bytearray(header(HEARTBEAT, beat(21)))
    node.peer.send_octets_with_checksum(bytes(octets), 0x1234, node.address)
    node.peer.expect_silence(Message, node.address)


def test_rfc6275_9_2_04_unknown_type_is_answered_with_binding_error(node: NodeUnderTest) -> None:
    node.peer.drain()
    node.peer.send_octets(header(UNASSIGNED_TYPE, bytes(10)), node.address)
    error = node.peer.expect(BindingError, node.address)
    expect_equal(error.status, UNRECOGNIZED_TYPE, "the Binding Error's status")


def test_rfc6275_9_2_06_wrong_payload_protocol_is_discarded(node: NodeUnderTest) -> None:
    node.peer.drain()
    node.peer.send_octets(header(HEARTBEAT, beat(22), protocol=UDP), node.address)
    node.peer.expect_silence(Message, node.address)


def test_rfc6275_9_2_07_parameter_problem_points_at_payload_protocol(node: NodeUnderTest) -> None:
    node.peer.drain()
    node.peer.send_octets(header(HEARTBEAT, beat(23), protocol=UDP), node.address)
    problem = node.peer.parameter_problem(node.address)
    expect(problem is not None, "no Parameter Problem")
    assert problem is not None
    expect_equal((problem.code, problem.pointer), (0, IPV6_HEADER), "code and pointer")


def test_rfc6275_9_2_09_too_short_a_header_is_discarded(node: NodeUnderTest) -> None:
    """A Heartbeat whose Header Len leaves its sequence number out."""
    node.peer.drain()
    node.peer.send_octets(bytes([NO_NEXT_HEADER, 0, HEARTBEAT, 0, 0, 0, 0, 0]), node.address)
    node.peer.expect_silence(Message, node.address)


def test_rfc6275_9_2_10_parameter_problem_points_at_header_length(node: NodeUnderTest) -> None:
    node.peer.drain()
    node.peer.send_octets(bytes([NO_NEXT_HEADER, 0, HEARTBEAT, 0, 0, 0, 0, 0]), node.address)
    problem = node.peer.parameter_problem(node.address)
    expect(problem is not None, "no Parameter Problem")
    assert problem is not None
    expect_equal((problem.code, problem.pointer), (0, IPV6_HEADER + 1), "code and pointer")


def test_rfc5847_3_03_heartbeat_is_answered(node: NodeUnderTest) -> None:
    node.peer.drain()
    node.peer.send(Heartbeat(sequence=77), node.address)
    for arrival in node.peer.arrivals(node.address, 2.0):
        if isinstance(arrival.message, Heartbeat) and arrival.message.response:
            expect_equal(arrival.message.sequence, 77, "the response's sequence number")
            return
    expect(False, "no Heartbeat Response")


def test_rfc5847_3_3_02_unknown_options_are_skipped(node: NodeUnderTest) -> None:
    data = bytes(2) + (78).to_bytes(4, "big") + bytes([0xF7, 2, 0, 0])
    node.peer.drain()
    node.peer.send_octets(header(HEARTBEAT, data), node.address)
    answer = node.peer.expect(Heartbeat, node.address)
    expect_equal(answer.sequence, 78, "the response's sequence number")
