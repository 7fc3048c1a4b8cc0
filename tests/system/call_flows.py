"""`make call-flows`: docs/call-flows.md anew, from runs in guests.

The file is checked in, and a test makes it again: a chart that doesn't show what the code does any
more fails it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, NamedTuple

from experiments.analysis.sequence_chart import (
    Step,
    access_steps,
    first_packets,
    mermaid,
    signalling_steps,
)
from experiments.engines.kernel_cache import Kernel, find_kernel
from tests.system.guest_checks.attachment_checks import LEAVES_S
from tests.system.guest_checks.restart_checks import START_S
from tests.system.guests import carry_out_check, make_job, put_job

DOCUMENT = Path(__file__).parents[2] / "docs" / "call-flows.md"
NAMES = {
    IPv6Address("2001:db8:10::1"): "LMA",
    IPv6Address("2001:db8:11::1"): "MAG1",
    IPv6Address("2001:db8:12::1"): "MAG2",
}
PARTICIPANTS = ("MN", "MAG1", "MAG2", "LMA")
ATTACHMENTS = [{"access": "wlan", "at_s": 1.0}, {"access": "cell", "at_s": 2.0}]
FLOW = {"kind": "udp", "anchor": "wlan", "start": "wlan", "port": 5001, "from_s": 3.5}


class CallFlow(NamedTuple):
    """`course` is a function of guest_checks; `changes` are to the run's document. The chart begins
    at `from_s` of the run, or when the course says."""

    title: str
    text: str
    course: str
    changes: dict[str, Any]
    from_s: float = 0.0
    arguments: dict[str, Any] = {}  # noqa: RUF012 - never changed


def _protocol(**values: Any) -> dict[str, Any]:
    return {"protocol": values}


COURSES = "call_flow_courses"
DYNAMIC = {
    **_protocol(prefix_model="unique", attachment="layer-2"),
    "attachments": [
        {"access": "wlan", "at_s": 1.0},
        {"access": "cell", "at_s": 2.5, "dynamic": True},
    ],
}
CALL_FLOWS = (
    CallFlow(
        "Attachment, and a second one with a unique prefix",
        "RFC 5213 figure 2, twice: each interface is a session of its own.",
        f"{COURSES}.attachment",
        _protocol(prefix_model="unique"),
    ),
    CallFlow(
        "Second attachment with a shared prefix",
        "RFC 7864 section 3.2.1: the second MAG says HI 6, and the session has the same prefix.",
        f"{COURSES}.attachment",
        _protocol(prefix_model="shared"),
    ),
    CallFlow(
        "Second attachment in the hybrid model",
        "RFC 7864 section 3.1: the second session has the shared prefix and one of its own.",
        f"{COURSES}.attachment",
        _protocol(prefix_model="hybrid"),
    ),
    CallFlow(
        "Second attachment with the prefixes put in place at once",
        "RFC 7864 section 3.3: the PBA brings the other prefix with the L bit, and an FMI tells "
        "the first MAG.",
        f"{COURSES}.attachment",
        _protocol(prefix_model="unique", prefix_delivery="at-attach"),
    ),
    CallFlow(
        "A move with a shared prefix",
        "RFC 7864 section 3.2.1: no signalling at all.",
        f"{COURSES}.move",
        _protocol(prefix_model="shared"),
    ),
    CallFlow(
        "A move with unique prefixes, after the FMA",
        "RFC 7864 section 3.2.2, figure 4. Time 0 is the decision.",
        f"{COURSES}.move",
        _protocol(prefix_model="unique", switch="on-ack"),
    ),
    CallFlow(
        "A move with unique prefixes, together with the FMI",
        "The LMA doesn't wait: the first packets follow the FMI on the same path.",
        f"{COURSES}.move",
        _protocol(prefix_model="unique", switch="on-send"),
    ),
    CallFlow(
        "A move whose FMI is lost",
        "RFC 7077 section 5.2: sent again after 1 s with the D flag. The flow stays where it was.",
        f"{COURSES}.lost_initiate",
        _protocol(prefix_model="unique", switch="on-ack"),
    ),
    CallFlow(
        "A move to a MAG that knows no Update Notifications",
        "RFC 7077 section 5.2, RFC 7864 section 3.3: the flow stays where it was until that MAG "
        "registers the node again, here every 3.2 s, and the PBA brings what the FMI would have.",
        f"{COURSES}.move",
        {
            **_protocol(prefix_model="unique"),
            "variables": {"mag": {"update_notifications": False, "lifetime_s": 4}},
        },
        arguments={"for_s": 1.5},
    ),
    CallFlow(
        "A move by dynamic attachment",
        "The rival approach: at the instant of the move the node attaches its second interface to "
        "the session, by layer-2 signalling (docs/layer-2-signalling.md).",
        "attachment_checks.dynamic",
        DYNAMIC,
        LEAVES_S,
    ),
    CallFlow(
        "Handover of everything",
        "RFC 5213 section 5.4.1.2: the node leaves one access and attaches to the other with HI 2, "
        "by layer-2 signalling.",
        "attachment_checks.handover",
        {**DYNAMIC, "moves": []},
        LEAVES_S,
    ),
    CallFlow(
        "Handover that the previous MAG is asked about",
        "RFC 5846 section 8.1, with `revoke_on_handover`: the new MAG says HI 4, and the "
        "deregistration of the other one was lost.",
        "attachment_checks.left_unnoticed",
        {**DYNAMIC, "moves": [], "variables": {"lma": {"revoke_on_handover": True}}},
        LEAVES_S,
        {"handoff": 4},
    ),
    CallFlow(
        "A MAG that starts again",
        "RFC 5847: it says so, and the nodes that are attached register anew.",
        "restart_checks.killed",
        {"attachments": ATTACHMENTS, "moves": []},
        START_S - 0.1,
        {"node": "mag2"},
    ),
    CallFlow(
        "An LMA that starts again without its sessions",
        "RFC 5847: its MAGs notice, and register their nodes anew. One that has its sessions on "
        "disk says nothing.",
        "restart_checks.killed",
        {"attachments": ATTACHMENTS, "moves": []},
        START_S - 0.1,
        {"node": "lma", "forget": True},
    ),
    CallFlow(
        "Departure",
        "RFC 5213 section 6.9.1.4: the MAG lists the session's prefixes, with HI 4.",
        f"{COURSES}.departure",
        _protocol(prefix_model="unique"),
    ),
    CallFlow(
        "Revocation",
        "RFC 5846: the LMA takes the session back, and the MAG tells the node that it is no router "
        "any more.",
        f"{COURSES}.revocation",
        _protocol(prefix_model="unique"),
    ),
)


def chart(kernel: Kernel, flow: CallFlow, folder: Path) -> str:
    """Carry out a course in `folder`, and draw what was captured."""
    job = make_job(
        {"attachments": ATTACHMENTS, "flows": {"a": {**FLOW, "until_s": 9.0}}, "moves": []},
        flow.changes,
    )
    put_job(folder, job)
    result = carry_out_check(kernel, folder, flow.course, **flow.arguments)
    from_ns = result.get("from_ns") or result["start_ns"] + round(flow.from_s * 1e9)
    wire = folder / "wire"
    steps = signalling_steps(
        wire / "lma-core.pcapng", [wire / "core-mag1.pcapng", wire / "core-mag2.pcapng"], NAMES
    )
    for access, gateway in (("wlan", "MAG1"), ("cell", "MAG2")):
        steps += access_steps(wire / f"mn-{access}.pcapng", "MN", gateway, {1: "a"}, access)
    return mermaid(_shown(first_packets(steps), from_ns), PARTICIPANTS, from_ns)


def _shown(steps: list[Step], from_ns: int) -> list[Step]:
    return [step for step in steps if step.time_ns >= from_ns]


def sections(kernel: Kernel) -> Iterator[tuple[CallFlow, str]]:
    """Each call flow and its section of the document."""
    for flow in CALL_FLOWS:
        with tempfile.TemporaryDirectory(prefix="flowmob-") as name:
            text = f"## {flow.title}\n\n{flow.text}\n\n"
            yield flow, f"{text}```mermaid\n{chart(kernel, flow, Path(name))}```\n"


HEAD = """# Call flows

Message sequence charts of what this implementation does, drawn from packets that were captured in
runs on the reference network. Signalling has the time at which the LMA sent or received it, the
rest that of its arrival. `make call-flows` draws the charts anew, and a test fails if that changes
them.
"""


def main() -> None:
    kernel = find_kernel()
    print(f"call flows: {len(CALL_FLOWS)} short runs, about {4 * len(CALL_FLOWS)} s")
    parts = [HEAD]
    for flow, section in sections(kernel):
        print(f"call flows: {flow.title}")
        parts.append(section)
    DOCUMENT.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
