import json
from pathlib import Path

from experiments.engines.guest import MEMORY_MIB, SWITCHING_MIB, memory_mib


def put_job(folder: Path, *roles: str) -> Path:
    nodes = {f"n{number}": {"role": role} for number, role in enumerate(roles)}
    text = json.dumps({"spec": {"topology": {"nodes": nodes, "links": {}}}})
    (folder / "job.json").write_text(text)
    return folder


def test_switches_get_memory_of_their_own(tmp_path: Path) -> None:
    assert memory_mib(put_job(tmp_path, "lma", "mag")) == MEMORY_MIB
    assert memory_mib(put_job(tmp_path, "lma", "switch")) == MEMORY_MIB + SWITCHING_MIB


def test_a_check_has_no_job(tmp_path: Path) -> None:
    assert memory_mib(tmp_path) == MEMORY_MIB
