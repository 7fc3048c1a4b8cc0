"""Data planes and the controller in the configuration of LMA and MAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nodes.config import AccessProfile, MobileNodePolicy
from nodes.controller_config import ControllerConfig

if TYPE_CHECKING:
    from tests.domain import Domain


def test_combinations_that_work(domain: type[Domain]) -> None:
    controller = ControllerConfig(address=domain.LMA)
    domain.lma_config()
    domain.lma_config(data_plane="sdn-core", controller=controller, fabric_interface="lma-s1")
    follows = MobileNodePolicy(decision_maker="mn")
    domain.lma_config(follows, data_plane="sdn-assisted", controller=controller)
    domain.mag(data_plane="native", fabric_interface="mag1-s3")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data_plane": "tunnel", "controller": True}, 'controller is set, and data_plane is "tun'),
        ({"data_plane": "sdn-assisted"}, 'controller is missing; data_plane "sdn-assisted" needs'),
        ({"data_plane": "sdn-core", "controller": True}, "fabric_interface is missing; data_plane"),
        (
            {"data_plane": "sdn-assisted", "controller": True, "fabric_interface": "s1"},
            "fabric_interface is 's1'; data_plane is \"sdn-assisted\"",
        ),
        ({"fabric_interface": "s1"}, "fabric_interface is 's1'; data_plane is \"tunnel\""),
        (
            {
                "data_plane": "sdn-core",
                "controller": True,
                "fabric_interface": "s1",
                "policy": MobileNodePolicy(decision_maker="mn"),
            },
            r'mobile_nodes.mn1@example.org.decision_maker is "mn"; expected "lma"',
        ),
    ],
)
def test_combinations_of_the_lma_that_do_not(
    domain: type[Domain], changes: dict[str, Any], error: str
) -> None:
    if "controller" in changes:
        changes = {**changes, "controller": ControllerConfig(address=domain.LMA)}
    with pytest.raises(ValueError, match=error):
        domain.lma_config(**changes)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"data_plane": "native"}, 'fabric_interface is missing; data_plane is "native"'),
        ({"fabric_interface": "s3"}, "fabric_interface is 's3'; data_plane is \"tunnel\""),
        (
            {"data_plane": "native", "fabric_interface": "mag1-mn"},
            "fabric_interface is 'mag1-mn', an access interface",
        ),
    ],
)
def test_combinations_of_the_mag_that_do_not(
    domain: type[Domain], changes: dict[str, Any], error: str
) -> None:
    with pytest.raises(ValueError, match=error):
        domain.mag(**changes)


def test_native_packets_of_several_lmas_could_not_be_told_apart(domain: type[Domain]) -> None:
    other = AccessProfile(mn_id="a@b", access_technology=4, lma=domain.MAG2)
    with pytest.raises(ValueError, match='data_plane is "native", with 2 LMAs'):
        domain.mag(access_interfaces={"mag1-mn": other}, data_plane="native", fabric_interface="s3")
