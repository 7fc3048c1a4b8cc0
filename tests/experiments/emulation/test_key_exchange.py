from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from experiments.emulation import key_exchange as tested
from tests.experiments.synthetic import run_spec

TOPOLOGY = run_spec().topology
LMA, MAG1, MAG2 = tested.members(TOPOLOGY)


def _values(text: str, key: str) -> list[str]:
    lines = [line.strip().partition(" = ") for line in text.splitlines()]
    return [value for name, _, value in lines if name == key]


def test_the_lma_has_associations_with_each_mag_and_mags_with_it_alone() -> None:
    assert LMA.address == IPv6Address("2001:db8:10::1")
    assert LMA.peers == {"mag1": MAG1.address, "mag2": MAG2.address}
    assert MAG1.peers == MAG2.peers == {"lma": LMA.address}


def test_mobility_headers_are_protected_in_transport_mode_by_policies_of_the_daemons() -> None:
    """RFC 5213 section 4.2; the request identifiers are those of `nodes.ipsec.policies`."""
    text = tested.connections(LMA, 1)
    assert _values(text, "mode") == ["transport"] * 2
    assert _values(text, "policies") == ["no"] * 2
    assert _values(text, "reqid") == ["1", "2"]
    assert _values(text, "local_ts") == [f"{LMA.address}/128[135]"] * 2
    assert _values(text, "remote_ts") == [f"{MAG1.address}/128[135]", f"{MAG2.address}/128[135]"]
    assert text.count("{") == text.count("}")


def test_both_ends_have_one_secret_and_each_pair_another() -> None:
    """RFC 5213 section 4.1: who authenticates as one MAG can't as another."""
    own = [_values(tested.connections(member, 1), "secret") for member in (LMA, MAG1, MAG2)]
    assert own[0] == own[1] + own[2]
    assert len(set(own[0])) == 2
    assert _values(tested.connections(MAG1, 2), "secret") != own[1]


def test_configuration_has_nothing_of_the_machine(tmp_path: Path) -> None:
    text = tested.configuration(MAG1, tmp_path)
    assert f"unix://{tmp_path}/ike-mag1.vici" in text
    assert "include" not in text
    assert text.count("{") == text.count("}")


def test_missing_program_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tested, "CHARON", tmp_path / "charon")
    with pytest.raises(tested.KeyExchangeError, match="charon is missing: run `make packages`"):
        tested.exchange_keys(None, run_spec(), 1, tmp_path, tmp_path, [])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
