"""What the guest kernel is configured with, and the check that a kernel has it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

FRAGMENT = Path(__file__).with_name("guest.config")
TIMER_HZ = 1000
"""Ticks a second. UML's default of 100 rounds socket timeouts and neighbour discovery to 10 ms."""

_SECTION = re.compile(r"^# \[(required|one of|optional)\]")
_OPTION = re.compile(r"^CONFIG_([A-Z0-9_]+)=(.+)$")
_DEFAULT_HZ = re.compile(r"(?m)^(config HZ\n\tint\n\tdefault )\d+$")


class KernelError(Exception):
    """No usable guest kernel; the message says what was expected and how to get one."""


@dataclass(frozen=True)
class GuestConfig:
    """The options of the fragment, by what it means when a kernel lacks them."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()

    @property
    def digest(self) -> str:
        """Names the configuration in the cache: other options or another tick rate, another kernel.

        Comments and order don't count, so that rewording the fragment costs nobody a build.
        """
        options = {*self.required, *self.optional}.union(*self.one_of)
        lines = [*sorted(options), f"HZ={TIMER_HZ}"]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def read_guest_config(path: Path = FRAGMENT) -> GuestConfig:
    """Read the fragment and its section marks."""
    text = path.read_text(encoding="utf-8")
    section = "required"
    options: dict[str, list[str]] = {"required": [], "optional": []}
    groups: list[list[str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if mark := _SECTION.match(line):
            section = mark[1]
            if section == "one of":
                groups.append([])
        elif option := _OPTION.match(line):
            if option[2] != "y":
                raise KernelError(f"{path}:{number}: {line!r}: only `=y` is allowed here")
            target = groups[-1] if section == "one of" else options[section]
            target.append(option[1])
        elif line.strip() and not line.startswith("#"):
            raise KernelError(f"{path}:{number}: {line!r} is neither an option nor a comment")
    return GuestConfig(
        required=tuple(options["required"]),
        optional=tuple(options["optional"]),
        one_of=tuple(tuple(group) for group in groups),
    )


def set_timer_rate(tree: Path) -> None:
    """Change the tick rate in the kernel's sources: no configuration of UML can set it."""
    kconfig = tree / "arch/um/Kconfig"
    text, replaced = _DEFAULT_HZ.subn(rf"\g<1>{TIMER_HZ}", kconfig.read_text(encoding="utf-8"))
    if replaced != 1:
        raise KernelError(
            f"{kconfig}: expected one `config HZ` with a default, found {replaced}; "
            "this kernel version is not supported, name another one with KERNEL_SOURCE="
        )
    kconfig.write_text(text, encoding="utf-8")


def check_config(dot_config: str, wanted: GuestConfig, where: str) -> list[str]:
    """Check a final configuration; return the optional options that it lacks.

    Kconfig drops what a version doesn't know or whose dependencies are unmet without an error, so
    only the final file tells.
    """
    present = {match[1] for match in re.finditer(r"(?m)^CONFIG_([A-Z0-9_]+)=y$", dot_config)}
    lacking = [name for name in wanted.required if name not in present]
    lacking += [" or ".join(group) for group in wanted.one_of if not present.intersection(group)]
    if not re.search(rf"(?m)^CONFIG_HZ={TIMER_HZ}$", dot_config):
        lacking.append(f"HZ={TIMER_HZ}")
    if lacking:
        raise KernelError(f"{where} lacks what the guest needs: {', '.join(lacking)}")
    return [name for name in wanted.optional if name not in present]
