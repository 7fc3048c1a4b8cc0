from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from nodes.ipsec.policies import (
    TO_LMA,
    TO_MAG,
    Protected,
    from_associations,
    from_key_manager,
    request_identifiers,
)
from nodes.ipsec.security_associations import SecurityAssociation
from nodes.strict import InputError
from nodes.wire.values import MobilityHeaderType

LMA = IPv6Address("2001:db8:10::1")
MAG1, MAG2 = IPv6Address("2001:db8:11::1"), IPv6Address("2001:db8:12::1")
KEY = bytes(20)


def _sa(source: IPv6Address, destination: IPv6Address, spi: int) -> SecurityAssociation:
    return SecurityAssociation(source, destination, spi, KEY)


PAIRS = [_sa(MAG1, LMA, 256), _sa(LMA, MAG1, 257), _sa(MAG2, LMA, 258), _sa(LMA, MAG2, 259)]


def test_lma_asks_of_each_mag_an_association_of_its_own() -> None:
    """RFC 5213 section 4.2, local mobility anchor SPD."""
    assert from_associations("lma", [LMA], [MAG1, MAG2], PAIRS, "f") == [
        Protected(MAG1, LMA, 256, TO_LMA),
        Protected(LMA, MAG1, 257, TO_MAG),
        Protected(MAG2, LMA, 258, TO_LMA),
        Protected(LMA, MAG2, 259, TO_MAG),
    ]


def test_mag_has_the_other_side_of_it() -> None:
    """RFC 5213 section 4.2, mobile access gateway SPD."""
    assert from_associations("mag", [MAG1], [LMA], PAIRS[:2], "f") == [
        Protected(MAG1, LMA, 256, TO_LMA),
        Protected(LMA, MAG1, 257, TO_MAG),
    ]


def test_all_messages_between_lma_and_mag_are_protected() -> None:
    """RFC 5213 section 4, RFC 5846 section 6, RFC 5847 section 6.1, RFC 7077 section 5."""
    types = {int(kind) for kind in (*TO_LMA, *TO_MAG)}
    assert types == {5, 6, 7, 13, 16, 19, 20}
    assert MobilityHeaderType.BINDING_UPDATE not in TO_MAG
    assert MobilityHeaderType.BINDING_ACKNOWLEDGEMENT not in TO_LMA


@pytest.mark.parametrize("missing", range(4))
def test_peer_without_an_association_is_told(missing: int) -> None:
    rest = PAIRS[:missing] + PAIRS[missing + 1 :]
    peer = (MAG1, MAG1, MAG2, MAG2)[missing]
    way = ("from", "to")[missing % 2]
    with pytest.raises(InputError, match=f"f: .* is 'none {way} {peer}'"):
        from_associations("lma", [LMA], [MAG1, MAG2], rest, "f")


def test_association_of_others_is_refused() -> None:
    """A node has only its own keys."""
    with pytest.raises(InputError, match=f"is '{MAG2} to {LMA}'; expected those from or to {MAG1}"):
        from_associations("mag", [MAG1], [LMA], PAIRS[:3], "f")


def test_two_associations_for_one_direction_are_refused() -> None:
    with pytest.raises(InputError, match="expected one in each direction"):
        from_associations("mag", [MAG1], [LMA], [*PAIRS[:2], _sa(MAG1, LMA, 300)], "f")


def test_request_identifiers_differ_and_follow_from_the_addresses_alone() -> None:
    assert request_identifiers([MAG2, MAG1]) == request_identifiers([MAG1, MAG2])
    assert sorted(request_identifiers([MAG1, MAG2]).values()) == [1, 2]


def test_key_manager_gets_both_directions() -> None:
    found = from_key_manager("lma", [LMA], {MAG1: 1, MAG2: 2})
    assert found == [
        Protected(LMA, MAG1, 1, TO_MAG),
        Protected(MAG1, LMA, 1, TO_LMA),
        Protected(LMA, MAG2, 2, TO_MAG),
        Protected(MAG2, LMA, 2, TO_LMA),
    ]
    assert from_key_manager("mag", [MAG1], {LMA: 1}) == [
        Protected(MAG1, LMA, 1, TO_LMA),
        Protected(LMA, MAG1, 1, TO_MAG),
    ]
