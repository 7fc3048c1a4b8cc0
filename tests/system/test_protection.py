"""Signalling in ESP, as captured packets and the kernel's counters show it (RFC 5213 section 4)."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from experiments.analysis.measure import analyse_run
from experiments.captures.pcapng import Packet, read_packets
from experiments.declaration.job import esp_keys
from experiments.emulation.key_exchange import CHARON
from experiments.engines.guest import GuestEngine
from experiments.engines.kernel_cache import Kernel
from nodes.ipsec.esp import EspKeys
from nodes.wire.capture import read_headers
from nodes.wire.tool import decode_capture
from tests import wireshark
from tests.system.guest_checks.protection_checks import ATTACK_S, START_S, UNKNOWN_TYPE
from tests.system.guests import LIMIT_S, carry_out_check, make_job, put_job

LMA, MAG1, MAG2 = "2001:db8:10::1", "2001:db8:11::1", "2001:db8:12::1"
KEYS: dict[str, Any] = {"protocol": {"protection": "keys"}}
NONE: dict[str, Any] = {"protocol": {"protection": "none"}}
NEXT_HEADER, ESP, MOBILITY = 14 + 6, 50, 135
ESP_HEADER = 14 + 40
# SPI, sequence number, initialization vector, at least a trailer of 2 octets, ICV; RFC 4303
# section 2.4: all of it but the ICV ends on a multiple of 4.
LEAST_COST, MOST_COST = 34, 37


def _run(engine: GuestEngine, folder: Path, *changes: dict[str, Any]) -> list[dict[str, Any]]:
    put_job(folder, make_job(*changes))
    outcome = engine.run(folder, LIMIT_S)
    assert outcome.failure is None, outcome.failure
    return analyse_run(folder, keep_captures=True)


def _course(kernel: Kernel, folder: Path, name: str, *changes: dict[str, Any]) -> Any:
    put_job(folder, make_job(*changes))
    return carry_out_check(kernel, folder, f"protection_checks.{name}")


def _kinds(folder: Path, capture: str) -> Counter[int]:
    """How many packets have a Mobility Header, and how many are ESP."""
    found = [packet.data[NEXT_HEADER] for packet in read_packets(folder / capture)]
    return Counter(kind for kind in found if kind in (ESP, MOBILITY))


def _answers(folder: Path, start_ns: int, keys: Path | None) -> list[str]:
    """What LMA and MAG 1 said after the attack, without what the attacker sent himself."""
    found = []
    for capture, node in (("lma-core", LMA), ("core-mag1", MAG1)):
        path = folder / "wire" / f"{capture}.pcapng"
        for message in decode_capture(path, keys=keys, on_error=lambda *_: None):
            if message["source"] == node and float(message["time"]) > start_ns / 1e9 + ATTACK_S:
                found.append(message["message"])
    return found


@pytest.fixture(scope="module")
def both(
    virtual: GuestEngine, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[dict[str, Any]]]]:
    """The same run without and with protection."""
    found = {}
    for name, change in (("none", NONE), ("keys", KEYS)):
        folder = tmp_path_factory.mktemp(name)
        found[name] = (folder, _run(virtual, folder, change))
    return found


def test_all_signalling_is_in_esp_and_nothing_else(
    both: dict[str, tuple[Path, list[dict[str, Any]]]],
) -> None:
    plain, protected = both["none"][0], both["keys"][0]
    assert _kinds(plain, "control.pcapng") == {MOBILITY: 6}
    assert _kinds(protected, "control.pcapng") == {ESP: 6}
    assert _kinds(protected, "captures.pcapng") == {}


def test_protection_costs_octets_and_no_virtual_time(
    both: dict[str, tuple[Path, list[dict[str, Any]]]],
) -> None:
    """Links without a rate; the verdict is made from the packets in either case."""
    (plain,), (protected,) = both["none"][1], both["keys"][1]
    changed = {key for key in plain if plain[key] != protected[key]}
    assert changed == {"signalling_bytes"}
    more = protected["signalling_bytes"] - plain["signalling_bytes"]
    assert protected["signalling_messages"] == 2
    assert 2 * LEAST_COST <= more <= 2 * MOST_COST


def test_messages_are_those_of_an_unprotected_run(
    both: dict[str, tuple[Path, list[dict[str, Any]]]],
) -> None:
    plain, protected = both["none"][0], both["keys"][0]
    unsealed = list(decode_capture(protected / "control.pcapng", keys=esp_keys(protected)))
    apart = {"time", "checksum", "options"}  # which has a time stamp
    for one, other in zip(decode_capture(plain / "control.pcapng"), unsealed, strict=True):
        assert one["checksum_valid"]
        assert {k: v for k, v in one.items() if k not in apart} == {
            k: v for k, v in other.items() if k not in apart
        }
    assert list(decode_capture(protected / "control.pcapng")) == []


def test_key_file_is_the_owners_alone_and_each_run_has_the_same(
    virtual: GuestEngine, both: dict[str, tuple[Path, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    folder, rows = both["keys"]
    status = esp_keys(folder).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.geteuid()
    assert not esp_keys(both["none"][0]).exists()
    assert _run(virtual, tmp_path / "again", KEYS) == rows
    assert esp_keys(tmp_path / "again").read_bytes() == esp_keys(folder).read_bytes()


@wireshark.needed
def test_wireshark_opens_a_capture_with_the_key_file_of_its_run(
    both: dict[str, tuple[Path, list[dict[str, Any]]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = both["keys"]
    capture = folder / "control.pcapng"
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(folder))
    options = ("-o", "esp.enable_encryption_decode:TRUE")
    names = wireshark.tshark(capture, *options, "-T", "fields", "-e", "flowmob.message")
    headers = list(read_headers(capture, EspKeys.of_file(esp_keys(folder))))
    assert len(names) == len(headers) == 6
    assert names[-2:] == ["Flow Mobility Initiate", "Flow Mobility Acknowledgement"]
    for header, tree in zip(headers, wireshark.dissect(capture, options=options), strict=True):
        wireshark.compare(header.data, tree)
    monkeypatch.setenv("WIRESHARK_CONFIG_DIR", str(folder / "logs"))
    sealed = wireshark.tshark(capture, *options, "-T", "fields", "-e", "flowmob.message")
    assert set(sealed) == {""}


def test_unprotected_messages_are_not_even_parsed(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 5213 section 4. The kernel drops them before the sockets, and counts them."""
    result = _course(kernel, tmp_path, "unprotected", KEYS)
    # They did arrive.
    assert _kinds(tmp_path, "wire/lma-core.pcapng")[MOBILITY] == 3
    assert _kinds(tmp_path, "wire/core-mag1.pcapng")[MOBILITY] == 1
    assert result["dropped"] == {"lma": 3, "mag1": 1}
    assert [entry["state"] for entry in result["bindings"]] == ["registered"] * 2
    assert _answers(tmp_path, result["start_ns"], esp_keys(tmp_path)) == []
    after_ns = result["start_ns"] + round(ATTACK_S * 1e9)
    for node in ("lma", "mag1"):
        lines = (tmp_path / "events" / f"{node}.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        later = [event["event"] for event in events if event["t"] > after_ns]
        assert set(later) <= {"stopped"}, node


def test_without_protection_the_same_messages_do_harm(kernel: Kernel, tmp_path: Path) -> None:
    """So the test above can fail: the session ends, and both nodes answer."""
    result = _course(kernel, tmp_path, "unprotected", NONE)
    assert result["dropped"] == {"lma": 0, "mag1": 0}
    assert sorted(entry["state"] for entry in result["bindings"]) != ["registered"] * 2
    answers = _answers(tmp_path, result["start_ns"], None)
    assert {"ProxyBindingAcknowledgement", "BindingError", "Heartbeat"} <= set(answers)
    lines = (tmp_path / "events" / "lma.jsonl").read_text()
    assert f"{UNKNOWN_TYPE}" in next(line for line in lines.splitlines() if "unknown-type" in line)


def test_replays_changes_and_keys_of_others_are_dropped(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 4303 section 3.4.3; and ESP in transport mode doesn't authenticate addresses, so that
    each MAG has an association and a policy of its own."""
    result = _course(kernel, tmp_path, "replayed_and_forged", KEYS)
    steps = list(zip(result["counts"], result["counts"][1:], strict=False))
    found = {
        attack: {
            "replays": after["own"][0] - before["own"][0],
            "failures": after["own"][1] - before["own"][1],
            "dropped": after["dropped"] - before["dropped"],
            "of another": after["other"] != before["other"],
        }
        for attack, (before, after) in zip(result["attacks"], steps, strict=True)
    }
    nothing = {"replays": 0, "failures": 0, "dropped": 0, "of another": False}
    assert found == {
        "replayed": nothing | {"replays": 1},
        "renumbered": nothing | {"failures": 1},
        # A number that has been is a replay already, whatever else is wrong with it.
        "changed": nothing | {"replays": 1},
        # It is decrypted, and then MAG 1's policy asks for MAG 1's association.
        "for another": nothing | {"dropped": 1},
    }
    assert [entry["state"] for entry in result["bindings"]] == ["registered"] * 2
    # And all goes on.
    assert [answer["ok"] for answer in result["answers"]] == [True]


def _esp_numbers(packets: list[Packet], spi: int) -> list[int]:
    """Sequence numbers in order."""
    return [
        int.from_bytes(packet.data[ESP_HEADER + 4 : ESP_HEADER + 8], "big")
        for packet in packets
        if packet.data[NEXT_HEADER] == ESP
        and int.from_bytes(packet.data[ESP_HEADER : ESP_HEADER + 4], "big") == spi
    ]


def test_associations_and_policies_outlive_the_daemon(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 4106 section 3.1: a sequence number, and so a nonce, is used once with a key."""
    result = _course(kernel, tmp_path, "started_again", KEYS, {"moves": []})
    assert "action block" in result["while_dead"]
    packets = list(read_packets(tmp_path / "wire" / "lma-core.pcapng"))
    text = esp_keys(tmp_path).read_text().splitlines()
    for line in text:
        numbers = _esp_numbers(packets, int(line.split('","')[3], 16))
        assert numbers == list(range(1, len(numbers) + 1))
        # The LMA's session with MAG 1 needs no message.
        assert len(numbers) >= (2 if MAG2 in line else 1), line
    messages = list(decode_capture(tmp_path / "wire" / "lma-core.pcapng", keys=esp_keys(tmp_path)))
    again_s = result["start_ns"] / 1e9 + START_S
    accepted = [
        message
        for message in messages
        if message["message"] == "ProxyBindingAcknowledgement" and float(message["time"]) > again_s
    ]
    assert accepted
    assert "cell" in {entry["access"] for entry in result["bindings"]}


def test_without_associations_nothing_is_sent_and_the_daemon_lives(
    kernel: Kernel, tmp_path: Path
) -> None:
    """It fails as with a peer that doesn't answer, and not in the clear."""
    result = _course(kernel, tmp_path, "without_associations", KEYS)
    assert [answer["ok"] for answer in result["answers"]] == [False]
    assert _kinds(tmp_path, "wire/lma-core.pcapng") == {ESP: 4}
    text = (tmp_path / "events" / "lma.jsonl").read_text()
    assert text.count('"fmi-sent"') >= 1


def test_message_that_esp_makes_longer_than_the_link_is_fragmented_and_arrives(
    virtual: GuestEngine, tmp_path: Path
) -> None:
    """RFC 4303 section 3.1.1: transport mode takes whole packets, fragments come after. An FMI of
    27 flows with their selectors is as long as one can be."""
    flows = {"protocol": {"granularity": "flow"}} | {
        "idle": {"count": 26, "anchor": "wlan", "start": "wlan"},
        "moves": [{"flow": "a", "to": "cell", "at_s": 6.0, "scope": "list"}],
    }
    (plain,) = _run(virtual, tmp_path / "none", NONE, flows)
    (protected,) = _run(virtual, tmp_path / "keys", KEYS, flows)
    assert protected["move_latency_ms"] == plain["move_latency_ms"] == plain["floor_ms"]
    assert protected["lost"] == 0
    assert plain["signalling_messages"] == protected["signalling_messages"] == 2
    # Two messages, each longer than 1,500 octets with or without.
    more = protected["signalling_bytes"] - plain["signalling_bytes"]
    assert 2 * LEAST_COST <= more <= 2 * MOST_COST
    capture = tmp_path / "keys" / "control.pcapng"
    keys = EspKeys.of_file(esp_keys(tmp_path / "keys"))
    assert max(len(header.data) for header in read_headers(capture, keys)) > 1_500


@pytest.mark.skipif(not CHARON.exists(), reason="strongSwan isn't installed: make packages")
def test_ikev2_makes_the_associations_that_policies_ask_for(
    virtual: GuestEngine, both: dict[str, tuple[Path, list[dict[str, Any]]]], tmp_path: Path
) -> None:
    """RFC 5213 section 4: charon of strongSwan at LMA and MAGs."""
    rows = _run(virtual, tmp_path, {"protocol": {"protection": "ikev2"}})
    assert rows == both["keys"][1]
    assert _kinds(tmp_path, "control.pcapng") == {ESP: 6}
    keys = EspKeys.of_file(esp_keys(tmp_path))
    assert len(list(read_headers(tmp_path / "control.pcapng", keys))) == 6
    assert stat.S_IMODE(esp_keys(tmp_path).stat().st_mode) == 0o600
    log = (tmp_path / "logs" / "ike-lma.txt").read_text()
    assert log.count("established with SPIs") == 2
    assert "deleting IKE_SA" in log  # it has ended in order
