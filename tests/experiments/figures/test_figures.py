from __future__ import annotations

import re
import shutil
import zlib
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from experiments.evaluation.results import Results
from experiments.figures import FIGURES, address_readiness, check_names, draw_figures, style
from nodes.strict import InputError
from tests.experiments.synthetic import make_results

NAMES = [*FIGURES]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _with_new_prefixes(make_results(tmp_path_factory.mktemp("results"), (1.0, 10.0), 3))


def _with_new_prefixes(results: Path) -> Path:
    """With runs in which a prefix comes into use: two seeds for each way."""
    rows = []
    for ra in address_readiness.ADVERTISED:
        for dad in address_readiness.DETECTED:
            for seed in (1, 2):
                row = {"flow": "new", "status": "ok", "ra": ra, "dad": dad, "seed": seed}
                row["run"] = f"{ra}-{dad}-s{seed}"
                parts = dict.fromkeys(address_readiness.PARTS, 10.0 * seed)
                rows.append(row | parts | {"ready_ms": 40.0 * seed})
    pd.DataFrame(rows).to_csv(results / "flows.csv", index=False)
    return results


@pytest.fixture(scope="module")
def drawn(results: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in draw_figures(results, NAMES)}


def texts(results: Path, name: str) -> list[str]:
    figure = FIGURES[name](Results(results))
    return [text.get_text() for text in figure.texts]


def test_every_figure_is_a_pdf_and_a_png(results: Path, drawn: dict[str, bytes]) -> None:
    assert sorted(drawn) == sorted(f"{name}.{kind}" for name in NAMES for kind in ("pdf", "png"))
    assert sorted(path.name for path in (results / "figures").iterdir()) == sorted(drawn)


def test_drawn_again_they_are_the_same_bytes(
    results: Path, drawn: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the date nor the settings of whoever calls may matter.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    monkeypatch.setitem(style.mpl.rcParams, "font.size", 20)
    for path in draw_figures(results, NAMES, tmp_path / "again"):
        assert path.read_bytes() == drawn[path.name], path.name


@pytest.mark.parametrize("name", NAMES)
def test_fonts_are_truetype_and_nothing_is_dated(drawn: dict[str, bytes], name: str) -> None:
    pdf = drawn[f"{name}.pdf"]
    plain = pdf + b"".join(
        _inflated(stream) for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S)
    )
    assert b"/FontFile2" in plain
    assert b"/Type3" not in plain
    assert b"CreationDate" not in plain
    assert b"tIME" not in drawn[f"{name}.png"]


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


@pytest.mark.parametrize("name", NAMES)
def test_size_text_and_labels(results: Path, name: str) -> None:
    figure = FIGURES[name](Results(results))
    assert figure.get_size_inches()[0] in (style.COLUMN_IN, style.PAGE_IN)
    assert figure.get_suptitle() == ""
    labelled = []
    for axes in figure.axes:
        assert axes.get_title() == ""
        labelled += [axes.get_xlabel(), axes.get_ylabel()]
        for text in (axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels()):
            assert text.get_fontsize() == style.TEXT_POINTS
    labels = [label.replace("\n", " ") for label in labelled if label]
    assert labels
    for label in labels:
        assert re.fullmatch(r".+ \([^()]+\)", label) or label == "Prefix model / switch policy"


@pytest.mark.parametrize("name", NAMES)
def test_n_and_the_kind_of_interval_are_stated(results: Path, name: str) -> None:
    (stated,) = texts(results, name)
    assert re.search(r"n = \d", stated)
    assert re.search(r"interval|DKW", stated)


@pytest.mark.parametrize("name", ["move-latency-delay"])
def test_missing_runs_are_stated(results: Path, name: str) -> None:
    (stated,) = texts(results, name)
    assert "n = 2 of 3 runs" in stated.replace("\n", " ")


@pytest.mark.parametrize("name", NAMES)
def test_all_text_lies_within_the_figure(results: Path, name: str) -> None:
    figure = FIGURES[name](Results(results))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = figure.bbox.size
    renderer = canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [legend.get_window_extent(renderer) for legend in figure.legends]
    for axes in figure.axes:
        boxes.append(axes.get_tightbbox(renderer))
    for box in boxes:
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
    # Neither note nor legend touch a panel with its labels.
    outside, panels = boxes[: len(figure.texts) + len(figure.legends)], boxes[-len(figure.axes) :]
    assert not any(one.overlaps(other) for one in outside for other in panels)


def test_figures_of_one_delay_and_one_run(tmp_path: Path) -> None:
    results = _with_new_prefixes(make_results(tmp_path, (10.0,), 1))
    assert len(draw_figures(results, NAMES)) == 2 * len(NAMES)


def test_unknown_figure() -> None:
    with pytest.raises(InputError, match=r"x\.toml: figures\[1\] is 'run-detial'.*'run-detail'"):
        check_names(["tcp-goodput", "run-detial"], "x.toml")


def test_results_without_what_a_figure_needs(results: Path, tmp_path: Path) -> None:
    runs = pd.read_csv(results / "runs.csv")
    runs[runs["traffic"] == "udp"].to_csv(tmp_path / "runs.csv", index=False)
    with pytest.raises(InputError, match="no complete tcp move"):
        draw_figures(tmp_path, ["tcp-goodput"])
    with pytest.raises(InputError, match=r"packets\.csv\.gz.*can't be read"):
        draw_figures(tmp_path, ["run-detail"])
    shutil.copytree(results / "runs", tmp_path / "runs")
    for path in (tmp_path / "runs").glob("*/moves.json"):
        path.write_text("[]")
    with pytest.raises(InputError, match=r"moves\.json.*can't be read"):
        draw_figures(tmp_path, ["run-detail"])
    assert not list(tmp_path.glob("figures/*"))


def test_the_parts_of_a_wait_are_stacked(results: Path) -> None:
    figure = FIGURES["address-readiness"](Results(results))
    assert len(figure.axes) == len(address_readiness.DETECTED)
    for axes in figure.axes:
        tops = sorted({round(bar.get_y() + bar.get_height(), 6) for bar in axes.patches})
        # Means of 10 and 20 ms, four times.
        assert tops == [15.0, 30.0, 45.0, 60.0]
