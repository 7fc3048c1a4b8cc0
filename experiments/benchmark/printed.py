"""Benchmarks of a guest, carried out and printed."""

from __future__ import annotations

from typing import Any

from experiments.benchmark.guest import measure

FLOW_COUNTS = (1, 1_000, 10_000, 100_000)
FORWARDING_MIB = 1_024
PROTECTION_MIB = 128
SIGNALLING_MIB = 768
SIGNALLING = {"mns": 10_000, "moving": 2_000, "requests": 10_000}
STORM_MNS = 10_000
FLAT = 0.9
MOST_MOVE_MS, MOST_AT_ONCE_MS = 1.0, 500.0


def report_forwarding() -> None:
    """What flow bindings cost in the LMA's kernel."""
    print("forwarding: packets, moves and memory with many flow bindings (about half a minute)")
    found = measure("forwarding", FORWARDING_MIB, counts=FLOW_COUNTS)
    counts = {int(count): one for count, one in found["counts"].items()}
    least, most = counts[min(counts)], counts[max(counts)]
    first = max(least["one_flow"], found["again_at_1"])
    print(
        "forwarding: flow bindings | packets/s of one flow (ratio) | of all flows in turn (ratio)"
    )
    for count, one in counts.items():
        print(
            f"forwarding: {count:>13,} | {one['one_flow']:>11,.0f} ({one['one_flow'] / first:.2f})"
            f" | {one['all_flows']:>11,.0f} ({one['all_flows'] / least['all_flows']:.2f})"
        )
    flat = most["one_flow"] / first
    print(
        f"forwarding: {max(counts):,} flow bindings have {flat:.2f} of the rate of 1; "
        f"{_verdict(flat >= FLAT, f'at least {FLAT} is required')}"
    )
    print(
        f"forwarding: without classification {found['plain']:,.0f} packets/s of one flow (1 flow "
        f"binding has {first / found['plain']:.2f} of that), {found['plain_all_flows']:,.0f} of "
        f"all in turn ({max(counts):,} have {most['all_flows'] / found['plain_all_flows']:.2f}); "
        f"packets of no flow: {found['default_path']:,.0f}"
    )
    print(f"forwarding: {found['arrived']:,} of {found['sent']:,} packets arrived")
    _moves(max(counts), most)
    print(
        f"forwarding: a flow binding takes {most['kernel_octets']:,.0f} octets of the kernel's "
        f"memory and {most['process_octets']:,.0f} of the process, and {most['install_ms']:.3f} ms "
        "to install with others"
    )


def report_protection() -> None:
    """What IPsec for the signalling costs."""
    print("protection: messages and packets without and with IPsec (a few seconds)")
    found = measure("protection", PROTECTION_MIB)
    plain, esp = found["none"], found["esp"]
    for size, took in plain["message_us"].items():
        more = esp["message_us"][size]
        print(
            f"protection: a message of {int(size):,} octets takes MAG and LMA {took:.0f} us of "
            f"processor time from socket to socket, {more:.0f} us in ESP ({more / took:.1f} times)"
        )
    share = esp["packets"] / plain["packets"]
    print(
        f"protection: {plain['packets']:,.0f} packets/s of a flow through the LMA, "
        f"{esp['packets']:,.0f} where signalling is protected ({share:.2f}), with 10 MAGs"
    )
    arrived = plain["arrived"] + esp["arrived"]
    print(f"protection: {arrived:,} of {plain['sent'] + esp['sent']:,} messages arrived")


def report_signalling() -> None:
    """What an LMA does in a second."""
    print(f"signalling: through one LMA with {SIGNALLING['mns']:,} mobile nodes (about a minute)")
    found = measure("signalling", SIGNALLING_MIB, **SIGNALLING)
    echoed, asked = found["echoed"], found["echoed_requests"]
    print(f"signalling: sockets and codec alone answer {echoed:,.0f} registrations/s")
    print(f"signalling: socket and JSON alone answer {asked:,.0f} control requests/s")
    for what, name, base in (
        ("registrations", "registrations", echoed),
        ("renewals", "renewals", echoed),
        ("moves", "moves with FMI and FMA", echoed),
        ("local_moves", "moves without signalling", asked),
        ("flows", "flows added", asked),
        ("requests", "control requests without work", asked),
    ):
        one = found[what]
        print(
            f"signalling: {one['rate']:,.0f} {name} a second, {one['rate'] / base:.2f} of that; "
            f"{one['cpu_ms']:.2f} ms of the LMA's process each"
        )
    print(
        f"signalling: a binding takes {found['binding_octets']:,.0f} octets of the LMA's process "
        f"and {found['binding_kernel_octets']:,.0f} of its kernel"
    )


def report_storm() -> None:
    """All mobile nodes at once."""
    print(f"storm: {STORM_MNS:,} mobile nodes at 10 MAGs at once (about a minute)")
    found = measure("storm", SIGNALLING_MIB, mns=STORM_MNS)
    courses = (("attach", found), ("stay, go or leave", found["churn"]))
    for (name, state), course in zip(courses, (found["attach"], found["churn"]), strict=True):
        good = not (state["wrong"] or state["wrong_routes"] or course["answered_twice"])
        required = "none lost, none answered twice, and all as wished, are required"
        print(
            f"storm: to {name} took {course['took_s']:.1f} s "
            f"({STORM_MNS / course['took_s']:,.0f}/s): {course['sent']:,} requests, "
            f"{course['answered']:,} answers; {state['wrong']} of the LMA and "
            f"{state['wrong_routes']} of its kernel not as wished, "
            f"{course['answered_twice']} answered twice; {_verdict(good, required)}"
        )
    print(
        f"storm: {found['replaced']:,} waiting requests were replaced by newer ones, "
        f"{found['dropped']:,} dropped; {found['process_octets']:,.0f} octets of the LMA's process "
        f"and {found['kernel_octets']:,.0f} of its kernel a mobile node"
    )


def _moves(count: int, one: dict[str, Any]) -> None:
    good = one["move_ms"] <= MOST_MOVE_MS
    print(
        f"forwarding: a move among {count:,} takes the kernel {one['move_ms']:.3f} ms (median; 99 "
        f"of 100 {one['move_p99_ms']:.2f}); {_verdict(good, f'at most {MOST_MOVE_MS} is required')}"
    )
    good = one["at_once_ms"] <= MOST_AT_ONCE_MS
    print(
        f"forwarding: {one['at_once']:,} moves in one transaction take {one['at_once_ms']:.0f} ms "
        f"(median; at most {one['at_once_max_ms']:.0f}), {one['at_once_ms'] / one['move_ms']:,.0f} "
        f"times one; {_verdict(good, f'at most {MOST_AT_ONCE_MS:g} is required')}"
    )


def _verdict(good: bool, required: str) -> str:
    return f"{required}: {'met' if good else 'NOT MET'}"
