"""nftables through libnftables: one library instance a process, a transaction a call."""

from __future__ import annotations

from nftables import Nftables


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
    def __init__(self) -> None:
        self._library = Nftables()

    def run(self, *commands: str) -> None:
        """Carry out `commands` as one atomic change. Raises NftablesError."""
        text = "\n".join(commands)
        status, _, error = self._library.cmd(text)
        if status != 0:
            raise NftablesError(f"{error.strip()}\n{text}")
