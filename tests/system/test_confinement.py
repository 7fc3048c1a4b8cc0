"""Daemons have no more of root than they need: docs/security.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.engines.kernel_cache import Kernel
from tests.system.guests import carry_out_check, make_job, put_job

# linux/capability.h
NET_ADMIN, NET_RAW, SYS_ADMIN = 12, 13, 21
NETWORK = 1 << NET_ADMIN | 1 << NET_RAW
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def _may(capabilities: int) -> dict[str, str]:
    """The lines of /proc/PID/status of a thread that has these for itself."""
    own, none = f"{capabilities:016x}", f"{0:016x}"
    sets = dict(zip(SETS, (none, own, own, own, none), strict=True))
    return {**sets, "NoNewPrivs": "1"}


def _check(result: dict[str, Any], expected: dict[str, int]) -> None:
    assert result["ended"] == []
    assert [answer["ok"] for answer in result["answers"]] == [True]
    for when in ("before", "after"):
        assert result[when].keys() == expected.keys()
        for name, threads in result[when].items():
            assert threads, name
            for thread in threads:
                assert thread == _may(expected[name]), name
    # Without the confinement, they would have what started them has.
    assert int(result["of_this"]["CapEff"], 16) & 1 << SYS_ADMIN


@pytest.fixture(scope="module")
def tunneled(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    changes: dict[str, Any] = {"topology": {"nodes": {"mn": {"role": "mn", "count": 3}}}}
    folder = put_job(tmp_path_factory.mktemp("tunneled"), make_job(changes))
    found: dict[str, Any] = carry_out_check(kernel, folder, "confinement_checks.privileges")
    return found


def test_daemons_have_two_capabilities(tunneled: dict[str, Any]) -> None:
    """Several mobile nodes in one process need a third, to change between their namespaces."""
    single = dict.fromkeys(("lma", "mag1", "mag2", "mn"), NETWORK)
    _check(tunneled, {**single, "mn2-mn3": NETWORK | 1 << SYS_ADMIN})


def test_a_controller_has_none(kernel: Kernel, tmp_path: Path) -> None:
    changes = {"protocol": {"data_plane": "sdn-core"}}
    folder = put_job(tmp_path, make_job(changes, network="sdn"))
    result = carry_out_check(kernel, folder, "confinement_checks.privileges", switched=True)
    (controller,) = result["before"].keys() - {"lma", "mag1", "mag2", "mn"}
    _check(result, {**dict.fromkeys(("lma", "mag1", "mag2", "mn"), NETWORK), controller: 0})
    assert any(len(threads) > 1 for threads in result["after"].values()), "it has threads"


def test_temporary_files_of_others_are_not_there(tunneled: dict[str, Any]) -> None:
    """But for the folder of the control sockets, by which the node is reached."""
    assert len(tunneled["temporary"]) == 5
    for name, found in tunneled["temporary"].items():
        assert found == {"names": [tunneled["state"]], "mode": "0o700", "own": True}, name


def test_control_sockets_are_roots_alone_in_a_folder_of_its_own(tunneled: dict[str, Any]) -> None:
    sockets = dict(tunneled["sockets"])
    assert sockets.pop(tunneled["state"]) == "0o40700"
    assert len(sockets) == 6
    assert set(sockets.values()) == {"0o140600"}
