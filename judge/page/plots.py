"""The sections of the page that have plots: benchmarks, gate, trainings, score, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from .others import Figure, Found, Section
from .svg import COLOURS, FAINT, INK, colour_of, figure, inline, style

POINTS = 200  # of a curve: what a screen shows
STEPS = ("forward", "training")


def bench(records: Found) -> Section:
    """Return each layer's time as a multiple of the built-in's, with its interval."""
    return Section("bench", [_ratios(record, place) for place, record in enumerate(records)])


def _ratios(record: dict[str, Any], place: int) -> Figure:
    timed = {(_setting(timing), timing["step"]): timing["arms"] for timing in record["timings"]}
    settings = [setting for setting, step in timed if step == STEPS[0]]
    arms = [arm for arm in dict.fromkeys(arm for found in timed.values() for arm in found) if arm != "builtin"]
    with style():
        drawn = figure(9.6, 1.2 + 0.2 * len(settings))
        panels = drawn.subplots(1, len(STEPS), sharey=True)
        for panel, step in zip(panels, STEPS, strict=True):
            panel.axvline(1, color=COLOURS["builtin"], linewidth=1.2)
            for number, arm in enumerate(arms):
                found = [(y, timed[s, step][arm]) for y, s in enumerate(settings) if arm in timed.get((s, step), {})]
                _intervals(panel, found, arm, colour_of(arm, number))
            panel.set_xscale("log", base=2)
            _plain(panel.xaxis)
            panel.set(title=step, xlabel="time / built-in's")
        panels[0].set_yticks(range(len(settings)), settings)
        panels[0].set_ylim(len(settings) - 0.5, -0.5)
        drawn.legend(*panels[-1].get_legend_handles_labels(), loc="outside upper center", ncols=len(arms))
        title = "Time of each layer as a multiple of the built-in's"
        svg = inline(drawn, f"bench{place}", title)
    machine, versions = record["machine"], record["versions"]
    where = f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores"
    note = f"Medians with their 95 % intervals; left of 1 is faster. {where}; torch {versions['torch']}, "
    return Figure(title, svg, f"{note}Python {versions['python']}; {record['date'][:10]}.")


def _setting(timing: dict[str, Any]) -> str:
    setting, threads = timing["setting"], timing["threads"]
    shape = " ".join(f"{name}{size}" for name, size in setting["shape"].items())
    return f"{setting['name']}  {shape}  {threads} thread{'s' * (threads > 1)}"


def _intervals(panel: Axes, found: Sequence[tuple[int, dict[str, float]]], arm: str, colour: str) -> None:
    y, figures = [y for y, _ in found], [figure for _, figure in found]
    median = np.array([figure["median"] for figure in figures])
    spread = [median - [f["low"] for f in figures], [f["high"] for f in figures] - median] if found else None
    panel.errorbar(median, y, xerr=spread, fmt="o", markersize=3.5, linewidth=1, color=colour, label=arm)


def _plain(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers."""
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def gate(records: Found) -> Section:
    """Return what gates answered, and each layer's time at head as a share of that at base, with its interval."""
    lines = [f"{record['answer'].upper()}: {record['reason']}." for record in records]
    timed = [record for record in records if record["timing"] and record["timing"]["first"]["findings"]]
    return Section("gate", [_slowdowns(record, place) for place, record in enumerate(timed)], lines)


def _slowdowns(record: dict[str, Any], place: int) -> Figure:
    timing = record["timing"]
    findings = timing["first"]["findings"] | (timing["second"] or {"findings": {}})["findings"]
    with style():
        drawn = figure(9.6, 1.1 + 0.22 * len(findings))
        panel = drawn.subplots()
        panel.axvline(0, color=COLOURS["builtin"], linewidth=1.2)
        panel.axvline(100 * record["tolerance"], color=INK, linewidth=1.2, linestyle="--", label="tolerance")
        ends = [{"median": f["slowdown"], "low": f["low"], "high": f["high"]} for f in findings.values()]
        percent = [{name: 100 * end for name, end in of.items()} for of in ends]
        _intervals(panel, list(enumerate(percent)), "head / base, less 1", COLOURS["fused"])
        panel.set_yticks(range(len(findings)), findings)
        panel.set_ylim(len(findings) - 0.5, -0.5)
        panel.set_xlabel("slower by (%)")
        drawn.legend(loc="outside upper center", ncols=2)
        title = "How much slower head is than base"
        svg = inline(drawn, f"gate{place}", title)
    pairs = min(finding["pairs"] for finding in findings.values())
    note = (
        f"Medians of {pairs} pairs of processes or more, with their 95 % intervals; {record['base']}, {record['head']}."
    )
    return Figure(title, svg, note)


def tasks(records: Found) -> Section:
    """Return the curves of each task: the loss of each step and the metric of each epoch, of all implementations."""
    ordered = sorted(records, key=lambda record: str(record["task"]))
    groups = [list(group) for _, group in groupby(ordered, key=lambda record: str(record["task"]))]
    return Section("tasks", [_curves(group, place) for place, group in enumerate(groups)])


def _curves(runs: Sequence[dict[str, Any]], place: int) -> Figure:
    several = max(len(run["metric_per_epoch"]) for run in runs) > 1
    with style():
        drawn = figure(9.6, 2.6)
        panels = np.atleast_1d(drawn.subplots(1, 1 + several))
        for number, run in enumerate(runs):
            # Of equal curves each later one is thinner and dashed, so that all of them show.
            line = {"linewidth": (3, 1.2, 1.2)[number % 3], "linestyle": ("-", "--", ":")[number % 3]}
            line |= {"color": colour_of(run["implementation"], number), "label": run["implementation"]}
            panels[0].plot(*_thinned(run["loss_per_step"]), **line)
            if several:
                panels[1].plot(range(1, len(run["metric_per_epoch"]) + 1), run["metric_per_epoch"], **line)
                panels[1].set(xlabel="epoch", ylabel=run["metric"])
        losses = np.concatenate([run["loss_per_step"] for run in runs])
        if losses.min() > 0 and losses.max() > 8 * np.median(losses):
            panels[0].set_yscale("log")
            _plain(panels[0].yaxis)
        panels[0].set(xlabel="step", ylabel=runs[0]["loss"])
        panels[0].legend()
        title = f"{runs[0]['task']}: {runs[0]['title']}"
        svg = inline(drawn, f"task{place}", title)
    reached = ", ".join(f"{run['implementation']} {run['metric_per_epoch'][-1]:.4f}" for run in runs)
    settings, data = runs[0]["settings"], runs[0]["data"]
    note = f"{runs[0]['metric']}: {reached}. Data {data['name']}, {settings['device']}, seed {settings['seed']}; "
    return Figure(title, svg, f"{note}torch {runs[0]['versions']['torch']}.")


def _thinned(losses: Sequence[float]) -> tuple[Any, Any]:
    """Return steps and losses, the mean of neighbours where there are more than a screen shows."""
    together = -(-len(losses) // POINTS)
    means = [np.mean(losses[start : start + together]) for start in range(0, len(losses), together)]
    return 1 + (together - 1) / 2 + together * np.arange(len(means)), means


def score(records: Found) -> Section:
    """Return how many planted faults were found."""
    lines = []
    for record in records:
        missed = [pair for pair in record["pairs"] if pair["caught"] != "yes"]
        lines.append(f"{len(record['pairs']) - len(missed)} of {len(record['pairs'])} planted faults were found.")
        lines += [f"Missed: {pair['defect']} in {pair['layer']}." for pair in missed]
        lines += [f"{name.capitalize()}: {value}." for name, value in record["totals"].items()]
        lines.append("; ".join(str(value) for value in record["machine"].values()) + ".")
    return Section("score", lines=lines)


def calibration(records: Found) -> Section:
    """Return what right layers need of the bound: error over spread, up to the factor where a verdict is FAIL."""
    return Section("calibration", [_needs(record, place) for place, record in enumerate(records)])


def _needs(record: dict[str, Any], place: int) -> Figure:
    rows = [row for row in record["rows"] if row["tensor"] == "all"]
    with style():
        drawn = figure(9.6, 1.1 + 0.32 * len(rows))
        panel = drawn.subplots()
        panel.axvline(record["factor"], color=INK, linewidth=1.2, linestyle="--", label="bound")
        for y, row in enumerate(rows):
            panel.plot([row["median"], row["max"]], [y, y], color=FAINT, linewidth=2, zorder=1)
        for name, marker, colour in (("median", "o", "fused"), ("p99", "|", "manual"), ("max", "X", "manual")):
            label = {"p99": "99 %"}.get(name, name)
            panel.plot([row[name] for row in rows], range(len(rows)), marker, color=COLOURS[colour], label=label)
        panel.set_xscale("log", base=2)
        _plain(panel.xaxis)
        panel.set_yticks(range(len(rows)), [row["dtype"] for row in rows])
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.set_xlabel("error over what rounding does to the equations")
        drawn.legend(loc="outside upper center", ncols=4)
        title = "What right layers need of the bound"
        svg = inline(drawn, f"calibration{place}", title)
    verdicts = f"{sum(row['verdicts'] for row in rows):,} verdicts on {', '.join(record['layers'])}"
    return Figure(title, svg, f"{verdicts}; {record['device']}, torch {record['torch']}, Python {record['python']}.")


SECTIONS: dict[str, Callable[[Found], Section]] = {
    "bench": bench,
    "gate": gate,
    "tasks": tasks,
    "score": score,
    "calibration": calibration,
}
