"""What an experiment found: summary.csv, table.tex and a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from experiments.analysis.measure import COLUMNS, DOWNLOADS, OK, RUNS
from experiments.analysis.redirection import COLUMNS as SWITCHED_COLUMNS
from experiments.declaration.job import write_atomically
from experiments.evaluation.statistics import Interval, bootstrap_interval, quantile_interval
from nodes.strict import MISSING, InputError

METRICS = [
    "move_latency_ms",
    "floor_ms",
    "excess_ms",
    "switch_latency_ms",
    "interruption_ms",
    "uplink_latency_ms",
    "uplink_excess_ms",
    "lost",
    "reordered",
    "duplicated",
    "uplink_lost",
    "uplink_reordered",
    "uplink_duplicated",
    "signalling_messages",
    "signalling_bytes",
    "access_signalling_messages",
    "access_signalling_bytes",
    "stay_moved",
    *SWITCHED_COLUMNS,
]
TUNNEL = "tunnel"
MODEL = ["prefix_model", "switch_policy", "decision_maker", "attachment", "prefix_delivery"]
GROUP = ["traffic", *MODEL, "direction", "lma_mag_delay_ms"]


class Pair(NamedTuple):
    """Columns that count signalling, and how a table calls them; left out if there was none."""

    messages: str
    octets: str
    head: str
    optional: bool


SIGNALLING = (
    Pair("signalling_messages", "signalling_bytes", r"\multicolumn{2}{c}{Signalling}", False),
    Pair(
        "access_signalling_messages",
        "access_signalling_bytes",
        r"\multicolumn{2}{c}{On the access}",
        True,
    ),
)
MODEL_ORDER = [
    "shared",
    "unique/on-ack",
    "unique/on-send",
    "unique/in-place",
    "hybrid",
    "hybrid/on-send",
    "dynamic",
]
DIRECTION_ORDER = ["fast-to-slow", "slow-to-fast", "equal"]
DIRECTION_WORDS = {"fast-to-slow": "fast to slow", "slow-to-fast": "slow to fast"}


def read_runs(results_dir: Path) -> pd.DataFrame:
    """`runs.csv` and `downloads.csv` with a column `model` added. Raises InputError when they
    aren't there, or are not what this version writes."""
    tables = [_read_table(results_dir / RUNS)]
    if (results_dir / DOWNLOADS).exists():
        tables.append(_read_table(results_dir / DOWNLOADS))
    filled = [table for table in tables if len(table)] or tables[:1]
    runs = pd.concat(filled, ignore_index=True)
    runs["model"] = [
        model_name(*values) for values in runs[MODEL].itertuples(index=False, name=None)
    ]
    if "data_plane" in runs.columns:
        redirected = runs["data_plane"].fillna(TUNNEL) != TUNNEL
        runs["model"] = runs["model"].where(~redirected, runs["model"] + "/" + runs["data_plane"])
    return runs


def _read_table(path: Path) -> pd.DataFrame:
    text = {"seed": int, "run": str, "point": str, "flow": str, "status": str}
    try:
        runs = pd.read_csv(path, dtype=text)
    except OSError as error:
        raise InputError(str(path), "(file)", MISSING, f"can't be read: {error.strerror}") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(str(path), "(file)", MISSING, f"is not a runs.csv: {error}") from None
    absent = [column for column in COLUMNS if column not in runs.columns]
    if absent:
        raise InputError(
            str(path),
            "(header)",
            MISSING,
            f"lacks {', '.join(absent)}; written by another version? run the experiment again",
        )
    return runs


def model_name(
    prefix_model: str,
    switch_policy: str,
    decision_maker: str = "lma",
    attachment: str = "link",
    prefix_delivery: str = "on-move",
) -> str:
    """What a combination is called: the switch policy matters only where there is signalling, and
    the prefix model only where the MN is attached before the move."""
    if decision_maker == "mn":
        return f"{prefix_model}/mn"
    if attachment == "dynamic":
        return attachment
    if prefix_delivery == "at-attach" and prefix_model != "shared":
        return f"{prefix_model}/in-place"
    if prefix_model == "unique" or (prefix_model == "hybrid" and switch_policy != "on-ack"):
        return f"{prefix_model}/{switch_policy}"
    return prefix_model


def ordered(present: Sequence[str], order: Sequence[str]) -> list[str]:
    """The distinct values, those in `order` first and in that order, then the others by name."""
    found = set(present)
    return [value for value in order if value in found] + sorted(found - set(order))


def factor_columns(runs: pd.DataFrame) -> list[str]:
    known = (*COLUMNS, *SWITCHED_COLUMNS, "model")
    return [column for column in runs.columns if column not in known]


def summarise(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per group of runs and metric.

    Groups: traffic, prefix model, switch policy, direction, delay, and the experiment's factors.
    Columns beside those: metric, n (runs that count, each with the mean of its moves), missing
    (moves whose status is not ok), mean and median with 95 % BCa bootstrap intervals, 90 % quantile
    with that of order statistics, whose confidence is p90_level.
    """
    keys = [*GROUP, *factor_columns(runs)]
    rows: list[dict[str, Any]] = []
    for values, group in runs.groupby(keys, dropna=False, sort=True):
        good = group[group["status"] == OK]
        for metric in [name for name in METRICS if name in runs.columns]:
            of_runs = good.dropna(subset=[metric]).groupby("run", sort=False)[metric].mean()
            data = of_runs.to_numpy(dtype=float)
            if not len(data) and len(good):
                continue
            mean, median = bootstrap_interval(data), bootstrap_interval(data, "median")
            p90 = quantile_interval(data, 0.9)
            rows.append(
                dict(zip(keys, values, strict=True))
                | {
                    "metric": metric,
                    "n": len(data),
                    "missing": len(group) - len(good),
                    "median": _rounded(median.estimate),
                    "median_low": _rounded(median.low),
                    "median_high": _rounded(median.high),
                    "mean": _rounded(mean.estimate),
                    "mean_low": _rounded(mean.low),
                    "mean_high": _rounded(mean.high),
                    "p90": _rounded(p90.estimate),
                    "p90_low": _rounded(p90.low),
                    "p90_high": _rounded(p90.high),
                    "p90_level": _rounded(p90.level),
                }
            )
    return pd.DataFrame(rows)


def _rounded(value: float) -> float:
    # Sums of equal values in another order may differ in the last bits; tables must not.
    return round(value, 6)


def write_summary(results_dir: Path) -> None:
    """Write summary.csv and table.tex next to runs.csv. Raises InputError."""
    runs = read_runs(results_dir)
    summary = summarise(runs).to_csv(index=False, lineterminator="\n")
    write_atomically(results_dir / "summary.csv", summary.encode())
    write_atomically(results_dir / "table.tex", latex_table(runs).encode())


def latex_table(runs: pd.DataFrame) -> str:
    """A booktabs table, without float or caption: per model and direction, the mean move latency
    at each delay, and over all delays the excess, what was lost and reordered, and signalling
    between LMA and MAG, and on the access link if there was any.

    Means over runs with 95 % BCa bootstrap intervals in brackets. UDP moves; TCP if there is none.
    """
    moves = _main_moves(runs)
    delays = sorted(moves["lma_mag_delay_ms"].unique())
    delay_heads = " & ".join(f"{delay:g}" for delay in delays)
    last = 2 + len(delays)
    signalling = [pair for pair in SIGNALLING if not pair.optional or moves[pair.messages].any()]
    heads = "".join(f" & {pair.head}" for pair in signalling)
    units = " & (messages) & (octets)" * len(signalling)
    words = "Move latency (ms) at LMA--MAG delay (ms)"
    latency = rf"\multicolumn{{{len(delays)}}}{{c}}{{{words}}}"
    lines = [
        "% Means over runs, 95 % BCa bootstrap intervals in brackets.",
        r"\begin{tabular}{ll" + "r" * (len(delays) + 3 + 2 * len(signalling)) + "}",
        r"\toprule",
        rf" & & {latency} & Excess & Lost & Reordered{heads} \\",
        rf"\cmidrule(lr){{3-{last}}}",
        rf"Model & Direction & {delay_heads} & (ms) & (packets) & (packets){units} \\",
        r"\midrule",
    ]
    for model, direction, group in _model_directions(moves):
        cells = [
            _tex_interval(group[group["lma_mag_delay_ms"] == delay]["move_latency_ms"], 1)
            for delay in delays
        ]
        cells += [
            _tex_interval(group["excess_ms"], 2),
            _tex_interval(group["lost"] + group["uplink_lost"], 1),
            _tex_interval(group["reordered"], 1),
        ]
        for pair in signalling:
            cells += [_tex_interval(group[pair.messages], 0), _tex_interval(group[pair.octets], 0)]
        words = DIRECTION_WORDS.get(direction, direction)
        lines.append(rf"{model} & {words} & {' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _model_directions(moves: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    for model in ordered(list(moves["model"]), MODEL_ORDER):
        of_model = moves[moves["model"] == model]
        for direction in ordered(list(of_model["direction"]), DIRECTION_ORDER):
            yield model, direction, of_model[of_model["direction"] == direction]


def _main_moves(runs: pd.DataFrame) -> pd.DataFrame:
    good = runs[runs["status"] == OK]
    udp = good[good["traffic"] == "udp"]
    return udp if len(udp) else good


def _tex_interval(values: pd.Series[Any], decimals: int) -> str:
    text = show(bootstrap_interval(values.to_numpy(dtype=float)), decimals)
    return text.replace("-", "$-$") if text else "--"


def show(interval: Interval, decimals: int = 1) -> str:
    """`27.1 [24.1, 30.2]`; one number where the interval is none or of no width as shown."""
    if interval.n == 0:
        return ""
    parts = [
        # Not "-0.0".
        f"{round(value, decimals) + 0.0:.{decimals}f}"
        for value in (interval.estimate, interval.low, interval.high)
    ]
    if "nan" in parts or parts[1] == parts[2]:
        return parts[0]
    return f"{parts[0]} [{parts[1]}, {parts[2]}]"


def terminal_summary(results_dir: Path) -> str:
    """What was found, in a few lines; means over runs with 95 % BCa bootstrap intervals."""
    runs = read_runs(results_dir)
    good = runs[runs["status"] == OK]
    names = ", ".join(sorted(set(runs["experiment"])))
    engines = ", ".join(sorted(set(runs["engine"])))
    lines = [
        f"{names}: {runs['run'].nunique()} runs, {len(runs)} moves, engine {engines}; "
        + _completeness(runs)
    ]
    if not len(good):
        return "\n".join(lines)
    moves = _main_moves(runs)
    delays = sorted(moves["lma_mag_delay_ms"].unique())
    delay = delays[len(delays) // 2]
    here = moves[moves["lma_mag_delay_ms"] == delay]
    lines.append(
        f"Move latency in ms at {delay:g} ms LMA-MAG delay "
        "(mean over runs, 95 % BCa bootstrap interval):"
    )
    width = max(map(len, here["model"]))
    for model, of_model in _by_model(here):
        parts = [
            f"{DIRECTION_WORDS.get(direction, direction)} "
            f"{show(bootstrap_interval(group['move_latency_ms'].to_numpy(dtype=float)))}"
            f" (n = {len(group)})"
            for name, direction, group in _model_directions(of_model)
            if name == model
        ]
        lines.append(f"  {model:<{width}}  " + ", ".join(parts))
    lines += _price_of_signalling(moves, delays)
    lines.append(_signalling(moves))
    # A line per question that the figures answer: floor, loss and order, the flow that stays.
    worst = [
        f"{model} {group['excess_ms'].max() + 0.0:.2f}"
        for model, group in _by_model(moves)
        if group["excess_ms"].notna().any()
    ]
    if worst:
        lines.append("Largest excess over the floor in ms: " + ", ".join(worst) + ".")
    lost, sent = (moves[name].sum() + moves[f"uplink_{name}"].sum() for name in ("lost", "sent"))
    parts = []
    for direction in ordered(list(moves["direction"]), DIRECTION_ORDER):
        values = moves[moves["direction"] == direction]["reordered"].to_numpy(dtype=float)
        words = DIRECTION_WORDS.get(direction, direction)
        parts.append(f"{show(bootstrap_interval(values), 2)} {words}")
    lines.append(
        f"Lost: {lost:.0f} of {sent:.0f} packets. Reordered downlink packets per move: "
        + ", ".join(parts)
        + "."
    )
    watched = good.drop_duplicates("run")["stay_moved"].dropna()
    if len(watched):
        lines.append(
            f"Flows that have to stay: {watched.sum():.0f} packets over the other access "
            f"in {len(watched)} runs."
        )
    return "\n".join(lines)


def _by_model(moves: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for model in ordered(list(moves["model"]), MODEL_ORDER):
        yield model, moves[moves["model"] == model]


SHOWN_REASONS = 3


def _completeness(runs: pd.DataFrame) -> str:
    bad = runs[runs["status"] != OK]
    if not len(bad):
        return "all complete."
    reasons = bad.groupby("status")["run"].agg(["size", "first"])
    parts = [
        f"{row['size']} {status} (first: {row['first']})"
        for status, row in reasons.head(SHOWN_REASONS).iterrows()
    ]
    if len(reasons) > SHOWN_REASONS:
        parts.append(f"and {len(reasons) - SHOWN_REASONS} other reasons, see runs.csv")
    return f"{len(bad)} moves do not count: " + "; ".join(parts) + "."


def _signalling(moves: pd.DataFrame) -> str:
    parts = []
    for model, group in _by_model(moves):
        core, access = (
            tuple(
                show(bootstrap_interval(group[column].to_numpy(dtype=float)), 0)
                for column in pair[:2]
            )
            for pair in SIGNALLING
        )
        part = f"{model} {core[0]} of {core[1]}"
        if group[SIGNALLING[1].messages].any():
            part += f" and {access[0]} of {access[1]} on the access"
        parts.append(part)
    return f"Signalling messages per move, and their octets: {', '.join(parts)}."


def _price_of_signalling(moves: pd.DataFrame, delays: Sequence[float]) -> list[str]:
    """How much later unique/on-ack is than shared, in pairs of the same seed and direction."""
    keys = ["lma_mag_delay_ms", "seed", "direction", "flow"]
    first = moves[moves["model"] == "shared"].set_index(keys)["move_latency_ms"]
    second = moves[moves["model"] == "unique/on-ack"].set_index(keys)["move_latency_ms"]
    if not (first.index.is_unique and second.index.is_unique):
        return []
    difference = (second - first).dropna()
    parts = []
    for delay in delays:
        at_delay = difference[difference.index.get_level_values(0) == delay]
        if len(at_delay):
            # Both moves of a run share its seed: the run is the unit, not the move.
            of_runs = at_delay.groupby("seed").mean().to_numpy(dtype=float)
            parts.append(f"{show(bootstrap_interval(of_runs))} at {delay:g} ms")
    if not parts:
        return []
    return ["unique/on-ack later than shared by (ms, pairs of equal seed): " + ", ".join(parts)]
