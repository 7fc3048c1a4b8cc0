"""The command `flowmob`."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from experiments.engines.base import EngineUnavailable
from experiments.engines.kernel_config import KernelError
from experiments.engines.process import INTERRUPTIONS
from nodes.strict import InputError

# Enough for every figure to show all that it can.
QUICK_SEEDS = 2
# Some ten hours of emulated time.
CHAOS_SEEDS = 8
ENGINES = ("virtual", "realtime", "host")
PROTECTIONS = ("none", "keys", "ikev2")


def _run(options: argparse.Namespace) -> int:
    from experiments.runner import run_experiment

    return run_experiment(
        options.experiment,
        engine=options.engine,
        seeds=options.seeds,
        jobs=options.jobs,
        protection=options.protection,
    )


def _smoke(options: argparse.Namespace) -> int:
    from experiments.runner import run_experiment

    return run_experiment(
        "smoke", engine=options.engine, seeds=1, jobs=1, protection=options.protection
    )


def _figures(options: argparse.Namespace) -> int:
    from experiments.runner import redraw

    return redraw(options.experiment)


def _paper(options: argparse.Namespace) -> int:
    from experiments.declaration.experiment import for_paper
    from experiments.runner import run_paper

    return run_paper(
        for_paper(),
        seeds=QUICK_SEEDS if options.quick else None,
        jobs=options.jobs,
        protection=options.protection,
    )


def _verify(options: argparse.Namespace) -> int:
    from experiments.declaration.experiment import for_paper
    from experiments.runner import verify

    names = options.experiments or for_paper()
    return verify(names, seeds=options.seeds, jobs=options.jobs)


def _reference(_: argparse.Namespace) -> int:
    from experiments.declaration.experiment import for_paper
    from experiments.runner import make_reference

    return make_reference(for_paper())


def _catalogue(_: argparse.Namespace) -> int:
    from experiments.evaluation.catalogue import write_catalogue
    from experiments.runner import REFERENCE

    write_catalogue(REFERENCE)
    return 0


def _chaos(options: argparse.Namespace) -> int:
    from experiments.chaos.campaign import replay, run_campaign, scenario_of, show_ledger

    if options.ledger:
        return show_ledger()
    scenario = scenario_of(options.seed, options.replay)
    if scenario is not None:
        return replay(scenario, shorter=options.shrink)
    return run_campaign(options.seeds, options.first, options.jobs)


def _doctor(_: argparse.Namespace) -> int:
    from experiments.doctor import main as doctor

    return doctor()


def _shell(options: argparse.Namespace) -> int:
    from experiments.interactive import open_shell

    return open_shell(options.topology, options.engine, options.prefix_model, options.data_plane)


def _decode(options: argparse.Namespace) -> int:
    from nodes.wire.tool import main_decode

    return main_decode(options.rest)


def _encode(options: argparse.Namespace) -> int:
    from nodes.wire.tool import main_encode

    return main_encode(options.rest)


def _wireshark(_: argparse.Namespace) -> int:
    from nodes.wire.lua_dissector import lua_dissector

    sys.stdout.write(lua_dissector())
    return 0


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"is {text!r}; expected a whole number of at least 1")
    return value


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Who says it twice must not disturb the clearing up."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="flowmob", description="A reproducible testbed for PMIPv6 flow mobility (RFC 7864)."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run an experiment, draw its figures, print its table")
    run.add_argument("experiment")
    run.add_argument("--seeds", type=_count, help="runs per point (default: what the file says)")
    run.set_defaults(function=_run)
    smoke = commands.add_parser("smoke", help="one short run and one figure, in under a minute")
    smoke.set_defaults(function=_smoke)
    for command in (run, smoke):
        command.add_argument("--engine", choices=ENGINES, default="virtual")
    paper = commands.add_parser("paper", help="every experiment with its full number of seeds")
    paper.add_argument("--quick", action="store_true", help=f"at most {QUICK_SEEDS} seeds a point")
    paper.set_defaults(function=_paper)
    for command in (run, smoke, paper):
        command.add_argument(
            "--protection",
            choices=PROTECTIONS,
            help="of the signalling, docs/security.md (default: what the file says, mostly none)",
        )
    verify = commands.add_parser(
        "verify", help="few runs of every experiment, compared with results/reference"
    )
    verify.add_argument("experiments", nargs="*", help="only these")
    verify.add_argument("--seeds", type=_count, default=QUICK_SEEDS, help="runs per point")
    verify.set_defaults(function=_verify)
    chaos = commands.add_parser("chaos", help="random faults in random topologies, and what holds")
    chaos.add_argument("--seeds", type=_count, default=CHAOS_SEEDS, help="scenarios")
    chaos.add_argument("--first", type=_count, default=1, help="the first of the seeds")
    chaos.add_argument("--seed", type=_count, help="only this scenario, whatever was run before")
    chaos.add_argument("--replay", type=Path, metavar="FILE", help="only the scenario in FILE")
    chaos.add_argument("--shrink", action="store_true", help="make one that fails shorter")
    chaos.add_argument("--ledger", action="store_true", help="what was run so far")
    chaos.set_defaults(function=_chaos)
    for command in (run, paper, verify, chaos):
        command.add_argument(
            "--jobs", type=_count, default=os.cpu_count() or 1, help="runs side by side"
        )

    reference = commands.add_parser(
        "reference", help="maintenance: make results/reference anew from complete results"
    )
    reference.set_defaults(function=_reference)
    catalogue = commands.add_parser("catalogue", help="maintenance: write docs/experiments.md")
    catalogue.set_defaults(function=_catalogue)

    figures = commands.add_parser("figures", help="draw an experiment's figures from its results")
    figures.add_argument("experiment")
    figures.set_defaults(function=_figures)

    doctor = commands.add_parser("doctor", help="what this machine has and lacks, and the remedy")
    doctor.set_defaults(function=_doctor)

    shell = commands.add_parser("shell", help="a topology with Mininet's prompt, in real time")
    shell.add_argument("topology", nargs="?", default="reference")
    shell.add_argument("--engine", choices=("realtime", "host"), default="realtime")
    shell.add_argument("--prefix-model", choices=("shared", "unique", "hybrid"), default="unique")
    shell.add_argument(
        "--data-plane",
        choices=("tunnel", "sdn-core", "sdn-assisted"),
        help="who makes the paths, docs/sdn.md (default: sdn-core on switches, else tunnel)",
    )
    shell.set_defaults(function=_shell)

    wireshark = commands.add_parser("wireshark", help="the Wireshark dissector (Lua), to a file")
    wireshark.set_defaults(function=_wireshark)

    for name, function, text in (
        ("decode", _decode, "Mobility Header messages (hex or capture) to JSON"),
        ("encode", _encode, "JSON to Mobility Header messages in hex"),
    ):
        codec = commands.add_parser(name, help=text, add_help=False)
        codec.add_argument("rest", nargs=argparse.REMAINDER)
        codec.set_defaults(function=function)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; its return value is the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["decode"], ["encode"]):
        options = argparse.Namespace(
            rest=given[1:], function=_decode if given[0] == "decode" else _encode
        )
    else:
        options = _parser().parse_args(given)
    # Told to end, we end what we started too. In a prompt, Ctrl-C is for what runs there.
    for number in INTERRUPTIONS if options.function is not _shell else {signal.SIGTERM}:
        signal.signal(number, _interrupt)
    try:
        status: int = options.function(options)
        sys.stdout.flush()
    except (InputError, EngineUnavailable, KernelError) as error:
        print(f"flowmob: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("flowmob: interrupted; finished runs are kept", file=sys.stderr)
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 128 + signal.SIGPIPE  # as a shell has it of a program that doesn't catch it
        where = f"{error.filename}: " if error.filename else ""
        print(f"flowmob: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    return status


def _nobody_reads() -> bool:
    """Whether the reader of standard output is gone, as `head` is when it has enough."""
    try:
        output = sys.stdout.fileno()
    except OSError:  # it is no file
        return False
    poll = select.poll()
    poll.register(output, 0)
    gone = any(events & select.POLLERR for _, events in poll.poll(0))
    if gone:
        # What is left in the buffer would fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return gone


if __name__ == "__main__":
    raise SystemExit(main())
