"""One target under Atheris, in a process of its own: `python -m tests.fuzz.instrumented PROGRAM
NAME`, and what libFuzzer takes (the corpus' folders, `-runs=`, `-max_total_time=`, `-merge=1`).
PROGRAM is what libFuzzer starts, with such arguments alone, when it wants another process."""

from __future__ import annotations

import resource
import sys

import atheris

MEMORY_MIB = 768
INSTRUMENTED = ["nodes", "controllers", "experiments", "topologies", "tomllib"]


def main() -> None:
    program, name, *arguments = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (4 * MEMORY_MIB << 20, 4 * MEMORY_MIB << 20))
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.catalogue import load

        target = load(name)
    from nodes.wire import messages, tlv

    # Generated from layouts, and so not seen by the import hook.
    for decoders in (tlv.OPTIONS.decoders, tlv.SUB_OPTIONS.decoders, messages.DECODERS):
        for decoder in decoders.values():
            if hasattr(decoder, "__code__"):
                atheris.instrument_func(decoder)
    atheris.Setup(
        [
            program,
            *arguments,
            f"-max_len={target.octets}",
            f"-rss_limit_mb={MEMORY_MIB}",
            "-timeout=10",
            "-print_final_stats=1",
        ],
        lambda data: target(data) and None,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
