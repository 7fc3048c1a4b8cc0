"""What nftables is told of sources; that packets are dropped is for the tests in a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nodes.actions import AcceptSources
from nodes.kernel import source_filter
from nodes.kernel.set_elements import ElementChange, TunnelSource
from nodes.kernel.source_filter import SourceFilter

if TYPE_CHECKING:
    from tests.domain import Domain


class Table:
    def __init__(self, _: str, skeleton: tuple[str, ...], *, adopt: bool) -> None:
        self.skeleton = "".join(skeleton)
        self.changes: list[ElementChange] = []

    def run(self, *changes: ElementChange) -> None:
        self.changes += changes


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    made: list[Table] = []

    def make(*arguments: Any, **options: Any) -> Table:
        made.append(Table(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(source_filter, "AdoptedTable", make)
    return made


def test_a_prefix_is_accepted_from_the_tunnel_of_its_mag_rfc5213_5_6_2(
    domain: type[Domain], tables: list[Table]
) -> None:
    interfaces = {domain.MAG1: "mag1", domain.MAG2: "mag2"}
    sources = SourceFilter(domain.lma_config(), interfaces.__getitem__)
    sources.perform(AcceptSources(domain.MAG2, (domain.P1,), (domain.P2,)))
    new, old = (TunnelSource("mag2", net.network_address) for net in (domain.P1, domain.P2))
    assert tables[0].changes == [
        ElementChange(False, "sources", old),
        ElementChange(True, "sources", new),
    ]


def test_the_internet_side_is_filtered_where_there_is_one_rfc2827(
    domain: type[Domain], tables: list[Table]
) -> None:
    for interfaces in ((), ("lma-cn",)):
        SourceFilter(domain.lma_config(internet_interfaces=interfaces), lambda _: "")
    without, with_one = (table.skeleton for table in tables)
    assert "chain internet" not in without
    assert 'iifname != { "lma-cn" } return' in with_one
    for address in (domain.LMA, domain.MAG1, domain.MAG2, domain.POOL):
        assert str(address) in with_one
