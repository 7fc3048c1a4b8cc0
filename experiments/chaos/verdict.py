"""What is wrong with a run: everything that it recorded, judged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from experiments.chaos.agreement import check_agreement, check_nobody
from experiments.chaos.checks import NOTICED_S, Violation, check_look
from experiments.chaos.domain import LMA
from experiments.chaos.packet_checks import check_delivery, check_packets
from experiments.chaos.record import read_packets, read_record
from experiments.chaos.scenario import SCENARIO, Scenario, link_name, mag_name, read
from nodes.mag.mobile_access_gateway import ADOPTION_S

JSON = dict[str, Any]
MOST_TOLD = 20
# A MAG has so long to ask for what it adopts.
ADOPTED_S = ADOPTION_S + 1.0
TRACEBACK = "Traceback (most recent call last)"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`rules`: how often each was broken; `told`: the first of them."""

    rules: dict[str, int]
    told: list[Violation]
    looks: int
    packets: int
    faults: int

    @property
    def well(self) -> bool:
        return not self.rules


def judge(folder: Path, failure: str | None) -> Verdict:
    """`failure`: how the run itself failed."""
    scenario = read(folder / SCENARIO)
    record, packets = list(read_record(folder)), list(read_packets(folder))
    found = sorted(
        [
            *_ended(failure, record),
            *_logs(folder),
            *_looks(scenario, record),
            *_orders(scenario, record),
            *flows_kept(record),
            *check_packets(scenario, record, packets),
            *_delivery(scenario, record, packets),
        ]
    )
    return Verdict(
        rules=dict(Counter(violation.rule for violation in found)),
        told=found[:MOST_TOLD],
        looks=sum(line["what"] == "look" for line in record),
        packets=len(packets),
        faults=sum(line["what"] == "fault" for line in record),
    )


def _ended(failure: str | None, record: list[JSON]) -> Iterator[Violation]:
    if failure is not None:
        t = record[-1]["t"] if record else 0.0
        # Numbers in it differ from run to run.
        rule = re.sub(r"\d+", "N", failure.splitlines()[0])[:60]
        yield Violation(t, f"ended: {rule}", failure)


def _logs(folder: Path) -> Iterator[Violation]:
    for log in sorted((folder / "logs").glob("*.txt")):
        text = log.read_text(errors="replace")
        if log.name != "console.txt" and TRACEBACK in text:
            yield Violation(0.0, "traceback", f"{log.name}: {text.rstrip().splitlines()[-1]}")


def _looks(scenario: Scenario, record: list[JSON]) -> Iterator[Violation]:
    changed: dict[str, tuple[float, bool]] = {}
    # Links of bindings that were revoked since they came up: they stay without until they leave.
    revoked: set[str] = set()
    started: dict[str, float] = {}
    for line in record:
        t = line["t"]
        match line["what"]:
            case "started":
                started[line["node"]] = t
            case "link":
                changed[line["link"]] = (t, line["up"])
                revoked.discard(line["link"])
            case "order":
                revoked |= _concerned(scenario, line["request"])
            case "look":
                gone = {
                    link
                    for link, (since, up) in changed.items()
                    if not up and t - since > NOTICED_S
                }
                adopting = {name for name, since in started.items() if t - since < ADOPTED_S}
                broken = [*check_look(line, gone, adopting)]
                if line["why"] in ("agreed", "still agreed"):
                    broken += check_agreement(line, scenario, revoked)
                elif line["why"] == "nobody":
                    broken += check_nobody(line)
                yield from (Violation(t, rule, text) for rule, text in broken)


def flows_kept(record: list[JSON]) -> Iterator[Violation]:
    """An LMA that is started again has the flows that it had. Before each order there is a look."""
    before: set[int] = set()
    anew = False
    for line in record:
        if line["what"] == "started":
            anew |= line["node"] == LMA
        elif line["what"] == "look" and line["nodes"][LMA]["running"]:
            flows = {row["fid"] for row in line["nodes"][LMA]["flows"]}
            if anew and flows != before:
                text = (
                    f"the LMA had flows {sorted(before)}, and has {sorted(flows)} after its start"
                )
                yield Violation(line["t"], "flows-kept", text)
            before, anew = flows, False


def _concerned(scenario: Scenario, request: JSON) -> set[str]:
    """The access links that a request of revocation is about, or one to attach or detach: what
    comes of it is for the mobile node to see."""
    if request["op"] in ("attach", "detach"):
        return {request["interface"].partition("-")[2]}
    if request["op"] != "revoke":
        return set()
    return {
        link_name(access, mobile.number)
        for mobile in scenario.mobiles
        for access, interface in mobile.interfaces.items()
        if request.get("mn", "").startswith(f"mn{mobile.number}@")
        or request.get("mag", "").split(":")[-3:-2] == [mag_name(interface.mag)[3:]]
    }


def _orders(scenario: Scenario, record: list[JSON]) -> Iterator[Violation]:
    """Each is answered once, unless the daemon dies."""
    asked: dict[int, JSON] = {}
    for line in record:
        if line["what"] == "order":
            asked[line["number"]] = line
        elif line["what"] == "reply" and asked.pop(line["number"], None) is None:
            yield Violation(line["t"], "answered", f"{line} is nobody's, or the second")
    for line in asked.values():
        if line["t"] < scenario.end_s:
            yield Violation(line["t"], "unanswered", f"{line['node']}: {line['request']}")


def _delivery(scenario: Scenario, record: list[JSON], packets: list[Any]) -> Iterator[Violation]:
    first: JSON | None = None
    forgetful: set[str] = set()
    for line in record:
        if line["what"] == "started":
            forgetful |= {line["node"]} - {LMA}
        if line["what"] != "look":
            continue
        if line["why"] == "agreed" and all(node["running"] for node in line["nodes"].values()):
            first = line
        elif line["why"] == "still agreed" and first is not None:
            window = [p for p in packets if first["t"] <= p.t <= line["t"] + 1.0]
            yield from check_delivery(scenario, first, line["t"] - 1.0, window, forgetful)
            first = None
