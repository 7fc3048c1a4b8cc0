from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from nodes.config import FIXED_MAG_LINK_LAYER_ADDRESS, FIXED_MAG_LINK_LOCAL_ADDRESS
from nodes.link_layer import interface_identifier, link_local_address, parse_link_layer_id


def test_modified_eui_64_rfc4291_appendix_a() -> None:
    """The example of the appendix: 34-56-78-9A-BC-DE, with the universal/local bit inverted."""
    assert interface_identifier(parse_link_layer_id("34:56:78:9a:bc:de")) == 0x365678FFFE9ABCDE


def test_link_local_address_of_a_local_mac_rfc4291_2_5_6() -> None:
    link_layer = parse_link_layer_id("02:00:00:00:01:01")
    assert link_local_address(link_layer) == IPv6Address("fe80::ff:fe00:101")


def test_the_fixed_addresses_belong_together_rfc6543_4() -> None:
    assert link_local_address(FIXED_MAG_LINK_LAYER_ADDRESS) == FIXED_MAG_LINK_LOCAL_ADDRESS


@pytest.mark.parametrize("text", ["", "02:00:00:00:01", "02:00:00:00:01:01:01"])
def test_other_lengths_have_no_such_identifier_rfc4291_appendix_a(text: str) -> None:
    with pytest.raises(ValueError, match="expected 6 octets"):
        interface_identifier(parse_link_layer_id(text))


def test_text_that_is_no_identifier_rfc5213_8_6() -> None:
    with pytest.raises(ValueError, match="hex"):
        parse_link_layer_id("02:00:zz")
