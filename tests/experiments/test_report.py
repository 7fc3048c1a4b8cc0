"""The report, as a browser shows it from disk."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments import report
from experiments.analysis.measure import analyse_run
from experiments.evaluation.record import Source
from experiments.figures import draw_figures
from tests.experiments.evaluation.test_paper import EXPERIMENT, write_flows
from tests.experiments.synthetic import Plan, make_results, make_run, run_spec

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
LIMIT_S = 60
NAME = "some-question"
RUN = "shared-10ms-s1"

in_a_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with one experiment, and one run that can be opened."""
    root = tmp_path_factory.mktemp("results")
    folder = make_results(root / NAME, (10.0,), 3)
    write_flows(folder)
    draw_figures(folder, EXPERIMENT.figures, plots=EXPERIMENT.plots)
    analyse_run(make_run(folder / "runs" / RUN, Plan(run_spec())))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.declaration.experiment.EXPERIMENTS", root)
        (root / f"{NAME}.toml").write_text('question = "<b>"\n')
        report.write_report([Source(NAME, EXPERIMENT, folder)], root)
    return root


def _shown(results: Path, page: str, script: str | None = None, width: int = 1000) -> str:
    """The page's elements as they are when its scripts have run."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=10000"]
    command += ["--allow-file-access-from-files"]  # only for a test that looks into a frame
    if script is not None:
        path = results / "driven.html"
        text = (results / page.partition("#")[0]).read_text()
        path.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
        page = "driven.html" + page[len(page.partition("#")[0]) :]
    url = f"file://{results}/{page}"
    result = subprocess.run(
        [*command, f"--user-data-dir={results}/profile", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    return result.stdout


def test_pages_need_nothing_from_elsewhere(results: Path) -> None:
    for page in (report.INDEX, report.RUN_PAGE):
        text = (results / page).read_text()
        assert "/*" + report.ASSETS[0] not in text
        assert not re.findall(r'(?:src|href)="https?:', text)
        assert 'name="viewport"' in text


def test_what_people_wrote_is_text_and_not_markup(results: Path) -> None:
    text = (results / report.INDEX).read_text()
    assert "question = &quot;&lt;b&gt;&quot;" in text
    assert "Which is faster, 50 % or all?" in text


def test_what_each_needs_is_a_table(results: Path) -> None:
    page = (results / report.INDEX).read_text()
    assert "<caption>What each needs.</caption>" in page
    assert "<tr><td>One</td><td>a &amp; b</td><td>&lt;c&gt;</td></tr>" in page


def test_every_link_to_a_file_leads_to_one(results: Path) -> None:
    text = (results / report.INDEX).read_text()
    links = re.findall(rf'(?:src|href)="({NAME}/[^"]+)"', text)
    assert len(links) >= 2 * 2 + 1
    for link in links:
        assert (results / link).is_file(), link


@in_a_browser
def test_a_browser_shows_the_runs_and_sorts_them(results: Path) -> None:
    opened = 'document.querySelector("details.runs").open = true;'
    by_latency = """setTimeout(() => [...document.querySelectorAll("th")]
        .find((cell) => cell.textContent === "move_latency_ms").click(), 1000);"""
    shown = _shown(results, report.INDEX, opened + by_latency)
    assert f'<a href="#{NAME}">' in shown
    assert 'aria-sort="ascending"' in shown
    shown = shown.partition('<details class="runs"')[2]
    rows = re.findall(r"<tr[^>]*>(<td.*?)</tr>", shown)
    heads = re.findall(r"<th[^>]*>(.*?)</th>", shown)
    column = heads.index("move_latency_ms")
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row)[column] for row in rows]
    values = [float(cell) for cell in cells if cell]
    assert len(rows) > 10
    assert values == sorted(values)
    assert f'href="run.html#{NAME}/runs/' in shown
    assert '<tr class="failed">' in shown


def test_what_runs_tell_and_lack_is_said(results: Path) -> None:
    text = (results / report.INDEX).read_text()
    assert "3 runs a point give a median between ranks 1 and 3, with 75.0 % confidence" in text
    assert re.search(r"2 of \d+ moves do not count \(guest hung\)\.", text)


@in_a_browser
def test_the_first_page_fits_a_phone(results: Path) -> None:
    """A window of Chromium is 500 px wide at least, a frame in it may be as narrow as a phone."""
    frame = f'<iframe id="f" src="{report.INDEX}" style="width:390px;height:800px"></iframe>'
    script = """<script>addEventListener("load", () => {
        const page = document.getElementById("f").contentDocument;
        for (const part of page.querySelectorAll("details")) part.open = true;
        setTimeout(() => { document.title = page.documentElement.scrollWidth + " of " +
            page.documentElement.clientWidth; }, 2000);
    });</script>"""
    (results / "phone.html").write_text(f"<!doctype html><body>{frame}{script}</body>")
    shown = _shown(results, "phone.html")
    wide, room = map(int, re.findall(r"<title>(\d+) of (\d+)</title>", shown)[0])
    assert room <= 390
    assert wide <= room


@in_a_browser
@pytest.mark.parametrize("width", [1000, 400])
def test_a_browser_shows_a_run(results: Path, width: int) -> None:
    shown = _shown(results, f"run.html#{NAME}/runs/{RUN}", width=width)
    assert f"{NAME}: {RUN}" in shown
    assert "1200 packets of flow a between 0.000 s and 30.000 s" in shown
    assert "move 0: a to cell" in shown
    assert ">mag1</text>" in shown
    wide = _shown(
        results,
        f"run.html#{NAME}/runs/{RUN}",
        "setTimeout(() => { document.title ="
        " 'scrolls ' + (document.documentElement.scrollWidth > window.innerWidth); }, 2000);",
        width,
    )
    assert "<title>scrolls false</title>" in wide


@in_a_browser
def test_zooming_shows_fewer_packets(results: Path) -> None:
    zoom = 'setTimeout(() => document.getElementById("nearer").click(), 2000);'
    shown = _shown(results, f"run.html#{NAME}/runs/{RUN}", zoom)
    assert "751 packets of flow a between 7.500 s and 22.500 s" in shown


@in_a_browser
@pytest.mark.parametrize("place", ["", f"#{NAME}/../x/runs/y", "#https://example.org/runs/x"])
def test_only_runs_below_the_page_are_opened(results: Path, place: str) -> None:
    assert "No run is named" in _shown(results, "run.html" + place)


@in_a_browser
def test_a_run_without_a_view_is_said(results: Path) -> None:
    assert "has no view.js" in _shown(results, f"run.html#{NAME}/runs/none")
