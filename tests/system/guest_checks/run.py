"""Run the checks named on the command line (all if none) and print one line each.

Exit status 1 if one failed. Started in the guest, as root, from the project's folder.
"""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))


def main(wanted: list[str]) -> int:
    from tests.system.guest_checks import network_checks, shell_checks

    checks = {
        name: function
        for module in (network_checks, shell_checks)
        for name, function in vars(module).items()
        if name.startswith("check_")
    }
    failed = 0
    for name in wanted or checks:
        started = time.monotonic()
        try:
            checks[name]()
        except Exception:
            traceback.print_exc()
            failed += 1
            print(f"FAILED {name}", flush=True)
        else:
            print(f"ok {name} ({time.monotonic() - started:.1f} s of its clock)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
