"""nftables through libnftables: one library instance a process, a transaction a call."""

from __future__ import annotations

from nftables import Nftables


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
