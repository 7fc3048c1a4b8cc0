import pytest

mininet = pytest.importorskip("mininet", reason="comes with the distribution")

from topologies.shell import CommandError, parse_changes, table  # noqa: E402


def test_changes_are_fields_of_a_direction() -> None:
    changes = parse_changes(["delay=2.5", "rate=none", "loss=0.1", "queue=50"])
    assert changes == {"delay_ms": 2.5, "rate_mbit": None, "loss": 0.1, "queue_packets": 50}


@pytest.mark.parametrize(
    "word", ["speed=3", "delay", "delay=x", "delay=-1", "rate=0", "loss=2", "loss=nan", "queue=0"]
)
def test_a_wrong_change_is_named(word: str) -> None:
    with pytest.raises(CommandError, match=word.partition("=")[0]):
        parse_changes([word])


def test_tables_have_a_column_per_key() -> None:
    rows = [{"fid": 1, "bids": [1, 2]}, {"fid": 12, "active": True}]
    assert table(rows) == "fid  bids  active\n1    1,2   -\n12   -     yes\n"


def test_an_empty_table_says_so() -> None:
    assert table([]) == "(none)\n"
