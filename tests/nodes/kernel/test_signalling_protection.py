from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from nodes.ipsec.config import Ipsec
from nodes.ipsec.policies import TO_LMA, TO_MAG
from nodes.ipsec.security_associations import SecurityAssociation, write_keys
from nodes.kernel import signalling_protection as tested
from nodes.kernel.netlink import Request
from nodes.kernel.netlink_replies import NetlinkError
from nodes.kernel.xfrm import XFRM_MSG_NEWSA
from nodes.strict import InputError

LMA, MAG = IPv6Address("2001:db8:10::1"), IPv6Address("2001:db8:11::1")
PAIR = [
    SecurityAssociation(MAG, LMA, 256, bytes(36)),
    SecurityAssociation(LMA, MAG, 257, bytes(36)),
]


class Kernel:
    """Keeps requests by name; refuses associations that it has, as the kernel does."""

    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.error = errno.EEXIST

    def carry_out(self, _: Any, requests: Sequence[Request]) -> None:
        for request in requests:
            if request.kind == XFRM_MSG_NEWSA and request.what in self.requests:
                raise NetlinkError(self.error, request.what)
            self.requests[request.what] = request


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(tested, "carry_out", found.carry_out)
    monkeypatch.setattr(tested, "open_channel", lambda _: socket.socket())
    return found


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    write_keys(tmp_path / "keys", PAIR)
    return tmp_path / "keys"


def test_nothing_is_done_without_a_configuration(kernel: Kernel) -> None:
    tested.protect_signalling(None, "lma", [LMA], [MAG])
    assert kernel.requests == {}


def test_policies_of_a_mag(kernel: Kernel, keys: Path) -> None:
    """What leaves is protected by type (RFC 5213 section 4.2), of what arrives everything is."""
    tested.protect_signalling(Ipsec(security_associations=keys), "mag", [MAG], [LMA])
    ways = {
        *(
            f"policy out: ESP for Mobility Header {int(k)} from {MAG}/128 to {LMA}/128"
            for k in TO_LMA
        ),
        f"policy in: ESP for Mobility Headers from {LMA}/128 to {MAG}/128",
        f"policy in: nothing else of Mobility Headers from ::/0 to {MAG}/128",
        f"policy out: nothing else of Mobility Headers from {MAG}/128 to ::/0",
        f"security association 0x00000100 from {MAG} to {LMA}",
        f"security association 0x00000101 from {LMA} to {MAG}",
    }
    assert set(kernel.requests) == ways


def test_what_nobody_protects_is_refused_before_anything_is_let_through(
    kernel: Kernel, keys: Path
) -> None:
    tested.protect_signalling(Ipsec(security_associations=keys), "lma", [LMA], [MAG])
    assert "nothing else" in next(iter(kernel.requests))
    outbound = [what for what in kernel.requests if what.startswith("policy out: ESP")]
    assert len(outbound) == len(TO_MAG)


def test_associations_are_kept_when_a_daemon_starts_again(kernel: Kernel, keys: Path) -> None:
    """RFC 4106 section 3.1: the same nonce twice with a key would end all security."""
    for _ in range(2):
        tested.protect_signalling(Ipsec(security_associations=keys), "lma", [LMA], [MAG])
    kernel.error = errno.EPERM
    with pytest.raises(NetlinkError):
        tested.protect_signalling(Ipsec(security_associations=keys), "lma", [LMA], [MAG])


def test_key_manager_makes_the_associations(kernel: Kernel) -> None:
    tested.protect_signalling(Ipsec(), "lma", [LMA], [MAG])
    assert not any(what.startswith("security association") for what in kernel.requests)
    assert len(kernel.requests) == 2 + 1 + len(TO_MAG)


def test_nothing_is_done_with_keys_that_others_can_read(kernel: Kernel, keys: Path) -> None:
    keys.chmod(0o644)
    with pytest.raises(InputError, match="expected 0600"):
        tested.protect_signalling(Ipsec(security_associations=keys), "lma", [LMA], [MAG])
    assert kernel.requests == {}
