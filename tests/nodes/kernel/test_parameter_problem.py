"""RFC 6275 section 9.2, RFC 4443 section 3.4. The conformance tests over sockets see it sent."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address

from nodes.kernel.parameter_problem import parameter_problem
from nodes.kernel.sockets import Received

SOURCE, DESTINATION = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")


def test_it_points_into_the_packet_that_it_holds_rfc4443_3_4() -> None:
    data = bytes(range(1, 25))
    message = parameter_problem(Received(data, SOURCE, DESTINATION, 0), 1)
    kind, code, _, pointer = struct.unpack_from("!BBHI", message)
    assert (kind, code) == (4, 0)
    packet = message[8:]
    assert packet[pointer] == data[1]
    assert packet[8:40] == SOURCE.packed + DESTINATION.packed
    assert struct.unpack_from("!HB", packet, 4) == (len(data), 135)


def test_it_fits_into_the_minimum_mtu_rfc4443_3_4() -> None:
    message = parameter_problem(Received(bytes(2000), SOURCE, DESTINATION, 0), 0)
    assert 40 + len(message) == 1280
