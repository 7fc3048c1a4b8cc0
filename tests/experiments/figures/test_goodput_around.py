"""Goodput around an instant: what is drawn is what the packets of the runs say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.interruption import instant_of
from experiments.analysis.measure import read_job
from experiments.analysis.packets import COLUMNS, csv_gz
from experiments.declaration.declarations import Plot
from experiments.evaluation.results import Results
from experiments.figures import declared
from nodes.strict import InputError, convert
from tests.experiments.synthetic import make_results, run_spec, write_job

DOWNLOAD = {"kind": "tcp", "anchor": "wlan", "start": "wlan", "port": 5010}
PLOT = convert(
    {
        "kind": "goodput",
        "table": "flows",
        "y": "interruption_ms",
        "y_label": "Goodput (Mbit/s)",
        "panels": "means",
        "series": "wlan",
        "names": {"stays": "WLAN stays"},
    },
    Plot,
    "test",
)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Two means, of which one is interrupted for 0.2 s; 8 Mbit/s else."""
    make_results(tmp_path, (10.0,), 1)
    rows = []
    spec = run_spec(flows={"d": DOWNLOAD}, moves=[], judged_at_s=8.0)
    for means in ("smooth", "gap"):
        run = f"{means}-stays-s1"
        folder = tmp_path / "runs" / run
        folder.mkdir(parents=True)
        write_job(folder, spec, ())
        instant = instant_of(read_job(folder))
        assert instant is not None
        times = np.arange(7.0, 11.0, 0.001) + 0.0005
        if means == "gap":
            times = times[(times < instant) | (times > instant + 0.2)]
        packets = pd.DataFrame(
            {
                "flow": "d",
                "direction": "down",
                "sequence": 1 + 1000 * np.arange(len(times)),
                "bytes": 1000,
                "sent_s": times - 0.02,
                "lma_s": np.nan,
                "lma_access": "",
                "received_s": np.round(times, 5),
                "access": "wlan",
                "overhead": -1,
            }
        )
        (folder / "packets.csv.gz").write_bytes(csv_gz(packets[COLUMNS]))
        row = {"run": run, "flow": "d", "means": means, "wlan": "stays", "status": "ok"}
        rows.append(row | {"seed": 1, "traffic": "tcp", "interruption_ms": 0.0})
    pd.DataFrame(rows).to_csv(tmp_path / "flows.csv", index=False)
    return Results(tmp_path)


def test_a_panel_for_each_of_the_means(results: Results) -> None:
    figure = declared.draw(PLOT, results)
    smooth, gap = (axes for axes in figure.axes if axes.get_visible())
    found = {}
    for name, axes in (("smooth", smooth), ("gap", gap)):
        (curve,) = [line for line in axes.lines if len(line.get_xdata()) > 2]
        found[name] = dict(zip(np.round(curve.get_xdata(), 2), curve.get_ydata(), strict=True))
    assert list(found["smooth"].values()) == [pytest.approx(8.0, rel=0.05)] * 41
    away = [time for time, rate in found["gap"].items() if rate == 0]
    assert away == [0.0, 0.05, 0.1, 0.15]
    assert figure.legends[0].get_texts()[0].get_text() == "WLAN stays"
    assert "n = 1 runs per curve" in figure.texts[-1].get_text().replace("\n", " ")


def test_packets_that_are_not_there_are_named(results: Results) -> None:
    (results.folder / "runs" / "gap-stays-s1" / "packets.csv.gz").unlink()
    with pytest.raises(InputError, match="gap-stays-s1"):
        declared.draw(PLOT, results)


def test_it_has_no_other_axis() -> None:
    with pytest.raises(ValueError, match="goodput expects none"):
        Plot(kind="goodput", y="goodput_mbit", y_label="Goodput (Mbit/s)", x="means")
