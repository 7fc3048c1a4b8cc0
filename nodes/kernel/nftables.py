"""nftables through libnftables, one library instance a process, and a transaction a call; changes
of elements alone go by the shorter way of `set_elements`."""

from __future__ import annotations

from nftables import Nftables

from nodes.kernel.set_elements import ElementChange, ElementChannel

Command = str | ElementChange


def whole_packets(table: str, *, track: bool = False) -> str:
    """A chain for `table` that has the kernel put fragments together before anything looks at them.
    It does so for connection tracking, in a network namespace where a rule asks for that; without
    `track`, nothing is tracked all the same."""
    rule = "" if track else "notrack"
    return f"""
table {table} {{
  chain whole_packets {{
    type filter hook prerouting priority raw; policy accept;
    ct state untracked accept
    {rule}
  }}
}}
"""


class NftablesError(RuntimeError):
    """The kernel or libnftables refused a transaction; nothing of it is in force."""


class Transactions:
    """`table` is the one that changes of elements are of, if there are such."""

    def __init__(self, table: str | None = None) -> None:
        self._table = table
        self._library = Nftables()
        self._elements = None if table is None else ElementChannel(table)

    def run(self, *commands: Command) -> None:
        """Carry out `commands` as one atomic change. Raises NftablesError or ElementsRefused."""
        changes = [command for command in commands if isinstance(command, ElementChange)]
        if self._elements is not None and len(changes) == len(commands):
            self._elements.run(changes)
            return
        text = "\n".join(
            command.command(self._table or "") if isinstance(command, ElementChange) else command
            for command in commands
        )
        status, _, error = self._library.cmd(text)
        if status != 0:
            raise NftablesError(f"{error.strip()}\n{text}")

    def close(self) -> None:
        if self._elements is not None:
            self._elements.close()
