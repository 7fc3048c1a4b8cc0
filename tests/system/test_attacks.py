"""Attacks on signalling and tunnels, judged by what the links had: docs/security.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from experiments.engines.kernel_cache import Kernel
from nodes.kernel.neighbour_limit import NEIGHBOURS
from nodes.wire.tool import decode_capture
from tests.system import wire
from tests.system.guest_checks.attack_checks import (
    ADDRESSES,
    FIRST_S,
    FLOOD,
    GUESS_S,
    HEARD_S,
    STEP_S,
)
from tests.system.guests import carry_out_check, make_job, put_job

LMA, MAG1, MAG2 = (f"2001:db8:{number}::1" for number in (10, 11, 12))
NANOSECONDS = 1_000_000_000
TWO_NODES: dict[str, Any] = {"topology": {"nodes": {"mn": {"role": "mn", "count": 2}}}}


class Attack(NamedTuple):
    folder: Path
    result: dict[str, Any]

    def seen(self, link: str, *, outbound: bool) -> list[int]:
        """The numbers of the data packets that an interface had."""
        found = wire.at(wire.read(self.folder / "wire" / f"{link}.pcapng"), link, outbound=outbound)
        payloads = (datagram.innermost.payload[8:] for datagram in found)
        return [int(text[5:]) for text in payloads if text.startswith(b"case ")]

    def signalling(self, link: str, name: str, case: str | None = None) -> list[dict[str, Any]]:
        """Messages on a link, all or those of the time of a case, with the time in s of the run."""
        messages = []
        for message in decode_capture(self.folder / "wire" / f"{link}.pcapng"):
            seconds, _, fraction = message["time"].partition(".")
            instant_ns = int(seconds) * NANOSECONDS + int(fraction)
            at_s = (instant_ns - self.result["start_ns"]) / NANOSECONDS
            if message["message"] == name and (case is None or self._during(case, at_s)):
                messages.append(message | {"at_s": at_s})
        return messages

    def _during(self, case: str, at_s: float) -> bool:
        first_s = FIRST_S + STEP_S * self.result["cases"].index(case)
        return first_s <= at_s < first_s + STEP_S

    def statuses(self, case: str) -> list[int]:
        """Of the LMA's answers."""
        links = ("lma-core", "cn-lma")
        found = [m for n in links for m in self.signalling(n, "ProxyBindingAcknowledgement", case)]
        return [message["status"]["value"] for message in found]

    def assert_nothing_happened(self) -> None:
        assert self.result["after"] == self.result["before"]


def attack(kernel: Kernel, folder: Path, name: str, *changes: dict[str, Any]) -> Attack:
    put_job(folder, make_job(*changes))
    return Attack(folder, carry_out_check(kernel, folder, f"attack_checks.{name}"))


@pytest.fixture(scope="module")
def internet(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    return attack(kernel, tmp_path_factory.mktemp("internet"), "from_the_internet")


@pytest.fixture(scope="module")
def mag(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    return attack(kernel, tmp_path_factory.mktemp("mag"), "from_a_mag", TWO_NODES)


@pytest.fixture(scope="module")
def replay(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    return attack(kernel, tmp_path_factory.mktemp("replay"), "replayed")


@pytest.mark.parametrize("case", ["take-over", "new session", "end", "as itself"])
def test_pbu_from_the_internet_is_dropped(internet: Attack, case: str) -> None:
    """Session hijack and deregistration of somebody else: whatever its source, it isn't answered,
    for an answer to a forged source would be sent to who didn't ask."""
    asked = internet.signalling("cn-lma", "ProxyBindingUpdate", case)
    assert len(asked) == 1, "it was sent"
    assert internet.statuses(case) == []
    internet.assert_nothing_happened()


def test_fmi_from_the_internet_is_dropped(internet: Attack) -> None:
    assert len(internet.signalling("cn-lma", "UpdateNotification")) == 1
    assert internet.signalling("core-mag2", "UpdateNotification", "FMI") == []
    assert internet.signalling("core-mag2", "UpdateNotificationAcknowledgement", "FMI") == []
    internet.assert_nothing_happened()


def test_fma_that_is_guessed_right_moves_nothing(internet: Attack) -> None:
    """RFC 7077 section 5.2: the sequence number is 16 bits, so a guess can be right. What is from
    the MAG arrives when its second answer isn't lost any more."""
    (guess,) = internet.signalling("cn-lma", "UpdateNotificationAcknowledgement")
    assert guess["at_s"] == pytest.approx(GUESS_S, abs=0.01)
    (answer,) = internet.signalling("lma-core", "UpdateNotificationAcknowledgement")
    assert answer["sequence"] == guess["sequence"]
    assert answer["at_s"] > HEARD_S
    assert [reply["ok"] for reply in internet.result["answers"]] == [True]
    cell = wire.at(
        wire.read(internet.folder / "wire" / "mn-cell.pcapng"), "mn-cell", outbound=False
    )
    moved = [d.time_ns for d in cell if d.mark is not None and d.mark[0] == 1]
    assert moved
    assert min(moved) / NANOSECONDS > internet.result["start_ns"] / NANOSECONDS + answer["at_s"]


def test_tunnel_packets_from_the_internet_are_dropped(internet: Attack) -> None:
    """To the LMA with the source of a MAG, to a MAG with that of the LMA; and so are packets that
    claim to be from a mobile node or from a MAG."""
    assert internet.seen("cn-lma", outbound=True) == [0, 1, 2, 3, 4]
    assert internet.seen("cn-lma", outbound=False) == []
    assert internet.seen("lma-core", outbound=True) == [4]
    assert internet.seen("core-mag1", outbound=True) == [4]
    assert internet.seen("mn-wlan", outbound=False) == [4]
    assert internet.seen("mn-cell", outbound=False) == []


def test_a_mag_can_not_end_a_session_at_another(mag: Attack) -> None:
    """As itself it isn't answered (RFC 5213 section 5.4.1), by an Alternate Care-of Address it is
    refused with status 154, with the other's source its packet doesn't come through."""
    assert len(mag.signalling("core-mag2", "ProxyBindingUpdate", "end, as itself")) == 1
    assert mag.statuses("end, as itself") == []
    assert mag.statuses("end, by claim") == [154]
    assert len(mag.signalling("core-mag2", "ProxyBindingUpdate", "end, as the other")) == 1
    assert mag.signalling("lma-core", "ProxyBindingUpdate", "end, as the other") == []
    mag.assert_nothing_happened()


def test_a_mag_can_not_claim_the_proxy_coa_of_another(mag: Attack) -> None:
    """RFC 5213 section 4."""
    assert mag.statuses("renew, by claim") == [154]
    mag.assert_nothing_happened()


def test_a_mag_can_not_send_fmis(mag: Attack) -> None:
    assert len(mag.signalling("core-mag2", "UpdateNotification")) == 2
    (there,) = mag.signalling("core-mag1", "UpdateNotification")
    assert there["source"] == MAG2, "as the LMA it doesn't come through"
    assert mag.signalling("core-mag1", "UpdateNotificationAcknowledgement") == []
    mag.assert_nothing_happened()


def test_a_mag_can_not_inject_into_the_tunnels_of_others(mag: Attack) -> None:
    """From the tunnel of a MAG come packets of its own mobile nodes (RFC 5213 section 5.6.2)."""
    assert mag.seen("core-mag2", outbound=False) == [0, 1, 2, 3, 4, 5, 6]
    assert mag.seen("lma-core", outbound=False) == [0, 1, 5, 6]
    assert mag.seen("cn-lma", outbound=False) == [5, 6]
    assert mag.seen("core-mag1", outbound=True) == [3]
    assert mag.seen("mn2-wlan2", outbound=False) == []


def test_replayed_pbu_is_refused(replay: Attack) -> None:
    """RFC 5213 section 5.5: its timestamp isn't greater than the one accepted."""
    requests = replay.signalling("lma-core", "ProxyBindingUpdate")
    sent = [message for message in requests if message["source"] == MAG2]
    assert len(sent) == 4
    answers = replay.signalling("lma-core", "ProxyBindingAcknowledgement")
    statuses = [m["status"]["value"] for m in answers if m["destination"] == MAG2]
    assert statuses == [0, 156, 156, 156]
    replay.assert_nothing_happened()


def test_replayed_fmi_is_answered_and_does_nothing(replay: Attack) -> None:
    """RFC 7077 section 6.1: a duplicate is never treated as new."""
    notifications = replay.signalling("core-mag2", "UpdateNotification")
    assert len(notifications) == 2
    assert len({message["sequence"] for message in notifications}) == 1
    events = (replay.folder / "events" / "mag2.jsonl").read_text()
    assert events.count('"fmi-duplicate"') == 1
    assert events.count('"flow-mobility"') == 1
    replay.assert_nothing_happened()


def test_replayed_fma_is_discarded(replay: Attack) -> None:
    """RFC 7077 section 5.2: it answers nothing that is outstanding."""
    events = (replay.folder / "events" / "lma.jsonl").read_text()
    assert events.count('"fma-received"') == 1
    # That of the replayed FMI, and the replayed one.
    assert events.count('"fma-discarded"') == 2
    replay.assert_nothing_happened()


@pytest.fixture(scope="module")
def access(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Attack:
    return attack(kernel, tmp_path_factory.mktemp("access"), "from_an_access", TWO_NODES)


@pytest.mark.parametrize(
    "case", ["PBU, as itself", "PBU, as the MAG", "FMI, as itself", "FMI, as the LMA"]
)
def test_a_mobile_node_can_not_signal(access: Attack, case: str) -> None:
    """With an address of its own it reaches the LMA, as any correspondent would, and is refused;
    a MAG never takes what comes from an access link for itself."""
    name = "ProxyBindingUpdate" if case.startswith("PBU") else "UpdateNotification"
    assert len(access.signalling("mn-cell", name, case)) == 1
    assert access.statuses(case) == ([154] if case == "PBU, as itself" else [])
    assert access.signalling("core-mag2", "UpdateNotificationAcknowledgement") == []
    access.assert_nothing_happened()


def test_signalling_from_the_access_link_is_not_heard(access: Attack) -> None:
    """Even to the MAG's address on that link: messages come to the Proxy-CoA."""
    assert access.signalling("mn-cell", "UpdateNotificationAcknowledgement") == []
    events = (access.folder / "events" / "mag2.jsonl").read_text()
    assert '"flow-mobility"' not in events
    access.assert_nothing_happened()


def test_a_mobile_node_can_not_inject_into_tunnels(access: Attack) -> None:
    """Nor send from the address of another (RFC 5213 section 6.10.5)."""
    assert access.seen("mn-cell", outbound=True) == [0, 1, 2, 3, 4, 5]
    assert access.seen("cn-lma", outbound=False) == [4]
    assert access.seen("mn2-wlan2", outbound=False) == [5]


def test_router_advertisements_reach_no_other_node(access: Attack) -> None:
    """RFC 4861 section 6.1.2: a MAG forwards none from a link-local address, and one from another
    has a hop limit that isn't 255 any more, so that it isn't one."""
    others = []
    for link in ("mn2-wlan2", "mn2-cell2"):
        for found in wire.at(
            wire.read(access.folder / "wire" / f"{link}.pcapng"), link, outbound=False
        ):
            if found.next_header == wire.ICMPV6 and found.payload[0] in (134, 136):
                others.append((found.payload[0], str(found.source), found.hop_limit))
    forged = [entry for entry in others if entry[1] != "fe80::200:5eff:fe00:5213"]
    assert [kind for kind, _, _ in forged] == [134, 136]
    assert all(hop_limit < 255 for _, _, hop_limit in forged)
    # Neither the node nor the MAG has another address or route for it.
    access.assert_nothing_happened()


def test_neighbours_of_one_link_do_not_fill_the_table(kernel: Kernel, tmp_path: Path) -> None:
    """RFC 6583: whoever comes afterwards is served."""
    found = attack(kernel, tmp_path, "neighbours", TWO_NODES, {"warm": False})
    assert found.result["entries"]["mag2-cell"] <= NEIGHBOURS + 2
    assert found.seen("cn-lma", outbound=True) == [0]
    assert found.seen("mn2-cell2", outbound=False) == [0]
    cell = wire.at(wire.read(found.folder / "wire" / "mn-cell.pcapng"), "mn-cell", outbound=True)
    sources = {datagram.source for datagram in cell if str(datagram.source).startswith("fe80::bad")}
    assert len(sources) == ADDRESSES


def test_option_bombs_and_truncated_messages_change_nothing(kernel: Kernel, tmp_path: Path) -> None:
    """Nor does a daemon end, nor is it slow afterwards: each is sent to the LMA, and to a MAG."""
    found = attack(kernel, tmp_path, "bombarded", TWO_NODES)
    found.assert_nothing_happened()
    assert [reply["ok"] for reply in found.result["answers"]] == [True]
    assert len(found.result["nodes"]) == 2
    # The first four are messages: without a mobile node's identifier, with too many prefixes to
    # give, of a node that nobody knows. Of the others, the kernel keeps those without a header.
    events = [json.loads(line) for line in (tmp_path / "events" / "lma.jsonl").open()]
    statuses = [event["status"] for event in events if event["event"] == "rejected"]
    assert statuses == [160, 160, 130, 153]
    for node in ("lma", "mag1"):
        lines = (tmp_path / "events" / f"{node}.jsonl").read_text().splitlines()
        reasons = [json.loads(line)["why"] for line in lines if '"malformed"' in line]
        assert [reason.partition(" ")[0] for reason in reasons] == [
            "option.length",
            "option.length",
            "checksum",
        ]


def test_a_flood_from_one_mag_changes_nothing(kernel: Kernel, tmp_path: Path) -> None:
    """And a node attaches at another MAG just after it. In virtual time processing takes none, so
    that nothing is said of who has to wait for whom."""
    found = attack(kernel, tmp_path, "flooded", TWO_NODES)
    found.assert_nothing_happened()
    requests = found.signalling("core-mag2", "ProxyBindingUpdate")
    assert len(requests) > FLOOD // 2, "not all find room on the link"
    asked = found.signalling("core-mag1", "ProxyBindingUpdate")[-1]
    answered = found.signalling("core-mag1", "ProxyBindingAcknowledgement")[-1]
    assert answered["at_s"] - asked["at_s"] < 0.1
    assert len(found.result["nodes"]) == 2
