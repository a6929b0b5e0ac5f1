"""Draw the committed results into docs: what the judge says of right and wrong layers, and how fast layers are.

python -m rnn_parity.bench.pictures    # from the project's root
"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from rnn_parity.bench.arms import KINDS
from rnn_parity.bench.committed import MissingResults, fingerprint, newest
from rnn_parity.bench.table import in_threads, timings_of
from rnn_parity.tests.meta.defects import PLANTED

COLOURS = {
    "builtin": "0.5",
    "manual": "tab:orange",
    "operations": "tab:purple",
    "fused": "tab:blue",
    "triton": "tab:red",
    "checkpointed": "tab:green",
    "limit": "black",
}
SWEEPS = {
    "H": ("hidden size, at B64 T28", {"B": 64, "T": 28, "I": 28}),
    "B": ("batch, at T28 H64", {"T": 28, "I": 28, "H": 64}),
}

HOLDS: dict[str, Any] = {"color": "tab:blue", "marker": "o", "label": "holds"}
FAILS: dict[str, Any] = {"color": "tab:red", "marker": "X", "label": "fails"}
DTYPES = {"float64": "o", "float32": "s", "bfloat16": "^", "float16": "D"}
HUGE = 1e15  # where what is infinite is drawn

# (x, (median, low, high)) of one arm
Line = list[tuple[int, tuple[float, float, float]]]


def draw(measured: dict[str, Any], folder: Path) -> None:
    """Write what `compare.run` returned as `ratios.png` and `long.png` into an existing folder."""
    save(ratios(measured), folder / "ratios.png")
    save(long(measured), folder / "long.png")


def verdicts(judged: dict[str, Any]) -> Figure:
    """What the judge says of some right and some wrong layers: a row each, its aspects and its worst errors."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for verdict in judged["verdicts"]:
        if verdict["verdict"] != "skipped":
            rows.setdefault(verdict["implementation"], []).append(verdict)
    order = sorted(rows, key=lambda name: any(verdict["verdict"] != "passed" for verdict in rows[name]))
    aspects = sorted({aspect for verdict in rows[order[0]] for aspect in verdict["aspects"]})
    figure = Figure(figsize=(10, 1.7 + 0.33 * len(order)), layout="constrained")
    held, errors = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for y, name in enumerate(order):
        for x, aspect in enumerate(aspects):
            failed = any(verdict["aspects"].get(aspect) == "failed" for verdict in rows[name])
            held.scatter(x, y, s=100, linewidth=0, **(FAILS if failed else HOLDS))
        for verdict in rows[name]:
            if verdict["worst"]:
                ratio = min(float(verdict["worst"]["ratio"]), HUGE)
                colour = (FAILS if ratio > 1 else HOLDS)["color"]
                errors.scatter(ratio, y, s=45, color=colour, alpha=0.8, linewidth=0, marker=DTYPES[verdict["dtype"]])
    held.set_xticks(range(len(aspects)), [aspect.replace("_", " ") for aspect in aspects], rotation=40, ha="left")
    held.xaxis.tick_top()
    held.set_yticks(range(len(order)), map(titled, order))
    held.set_ylim(len(order) - 0.4, -0.6)
    held.tick_params(length=0)
    held.grid(axis="y", alpha=0.3)
    held.set_axisbelow(True)
    held.spines[:].set_visible(False)
    errors.set_xscale("log")
    errors.axvline(1, color="0.3", linewidth=1)
    errors.set_xlabel("worst error over its bound (to 1e15)")
    errors.grid(alpha=0.3)
    errors.tick_params(axis="y", length=0)
    errors.spines[["left", "right", "top"]].set_visible(False)
    for style in (HOLDS, FAILS):
        held.scatter([], [], s=100, linewidth=0, **style)
    for dtype in (name for name in DTYPES if any(verdict["dtype"] == name for verdict in rows[order[0]])):
        errors.scatter([], [], s=45, color="0.4", marker=DTYPES[dtype], label=dtype)
    label_arms(figure, held, errors)
    return figure


def titled(location: str) -> str:
    """Return how a layer is called in a picture: a planted one by its fault."""
    module, _, name = location.partition(":")
    planted = {layer.__name__: defect for (defect, _), layer in PLANTED.items()}
    return planted.get(name, f"{module.removeprefix('rnn_parity.')}.{name}")


def ratios(measured: dict[str, Any]) -> Figure:
    """A training step's time over the built-in's, and the limit: over hidden size, batch and steps."""
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    panels = figure.subplots(len(SWEEPS) + 1, len(KINDS), sharey=True, squeeze=False)
    for column, kind in enumerate(KINDS):
        panels[0, column].set_title(f"nn.{kind}")
        for row, (size, (label, _)) in enumerate(SWEEPS.items()):
            plot(panels[row, column], sweep(measured, kind, size), label)
        plot(
            panels[-1, column],
            over_steps(measured, kind),
            "steps, at B{} H{}".format(*measured["long"][0]["sizes"][::2]),
        )
    for panel in panels[:, 0]:
        panel.set_ylabel("time / built-in")
        panel.set_ylim(bottom=2**-6)  # of the smallest sizes the limit lies far below
    label_arms(figure, panels[0, 0], panels[-1, 0])
    within = in_threads(measured["threads"][0])
    figure.suptitle(f"A training step's time over the built-in's: median, and its 95 % interval; {within}")
    return figure


def sweep(measured: dict[str, Any], kind: str, size: str) -> dict[str, Line]:
    """Return each arm's line over one size, all other sizes being those of the sweep."""
    _, fixed = SWEEPS[size]
    lines: dict[str, Line] = {}
    for timing in timings_of(measured, "training", measured["threads"][0]):
        setting, found = timing["setting"], timing["arms"]
        if setting["name"] != kind or not fixed.items() <= setting["shape"].items():
            continue
        for name in (name for name in COLOURS if name in found):
            lines.setdefault(name, []).append((setting["shape"][size], interval(found[name])))
        if timing["limit"]:
            share = timing["limit"]["seconds"] / found["builtin"]["seconds"]
            lines.setdefault("limit", []).append((setting["shape"][size], (share, share, share)))
    return {name: sorted(line) for name, line in lines.items()}


def over_steps(measured: dict[str, Any], kind: str) -> dict[str, Line]:
    [found] = [long for long in measured["long"] if long["setting"] == kind]
    lines = {
        name: [(T, interval(ratio)) for T, ratio in zip(found["steps"], arm["ratio"], strict=True)]
        for name, arm in found["arms"].items()
    }
    if found["limit_seconds"]:
        base = found["arms"]["builtin"]["seconds"]
        shares = [limit / seconds for limit, seconds in zip(found["limit_seconds"], base, strict=True)]
        lines["limit"] = [(T, (share, share, share)) for T, share in zip(found["steps"], shares, strict=True)]
    return lines


def interval(ratio: dict[str, float]) -> tuple[float, float, float]:
    return ratio["median"], ratio["low"], ratio["high"]


def plot(panel: Axes, lines: dict[str, Line], label: str) -> None:
    """Draw each arm's line with its interval as a band, on logarithmic axes of base 2."""
    panel.axhline(1, color=COLOURS["builtin"], linestyle="--", linewidth=1)
    for name, line in lines.items():
        if name == "builtin" or not line:
            continue
        x, figures = zip(*line, strict=True)
        median, low, high = zip(*figures, strict=True)
        dotted = ":" if name == "limit" else "-"
        panel.plot(x, median, color=COLOURS[name], linestyle=dotted, marker="o", markersize=3, label=name)
        panel.fill_between(x, low, high, color=COLOURS[name], alpha=0.2, linewidth=0)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log", base=2)
    plain(panel, sorted({x for line in lines.values() for x, _ in line}))
    panel.set_xlabel(label)
    panel.grid(alpha=0.3)


def plain(panel: Axes, x: list[int]) -> None:
    """Label the axes with plain numbers, x at the sizes that were measured."""
    panel.set_xticks(x)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def long(measured: dict[str, Any]) -> Figure:
    """Time per step, and peak memory, of a training step over the number of steps."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, len(measured["long"]), sharex=True, sharey="row", squeeze=False)
    for column, found in enumerate(measured["long"]):
        time, memory = panels[:, column]
        time.set_title(found["setting"])
        for name, arm in found["arms"].items():
            wide = 4 if name == "builtin" else 1.5  # so that a line upon it does not hide it
            style = {"color": COLOURS[name], "marker": "o", "markersize": 3, "linewidth": wide, "label": name}
            time.plot(
                found["steps"], [1e6 * s / T for s, T in zip(arm["seconds"], found["steps"], strict=True)], **style
            )
            memory.plot(found["steps"], [bytes / 2**20 for bytes in arm["peak_bytes"]], **style)
        memory.set_yscale("log", base=2)
        for panel in (time, memory):
            panel.set_xscale("log", base=2)
            plain(panel, found["steps"])
            panel.grid(alpha=0.3)
        memory.set_xlabel("steps")
    panels[0, 0].set_ylim(bottom=0)
    panels[0, 0].set_ylabel("time per step (µs)")
    panels[1, 0].set_ylabel("peak memory (MiB)")
    label_arms(figure, panels[0, 0])
    figure.suptitle("A training step on long sequences, B{} I{} H{}".format(*measured["long"][0]["sizes"]))
    return figure


def label_arms(figure: Figure, *panels: Axes) -> None:
    """Put one legend for all panels below them."""
    arms = {name: line for panel in panels for line, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    if arms:
        figure.legend(arms.values(), arms.keys(), loc="outside lower center", ncols=len(arms), frameon=False)


def save(figure: Figure, path: Path, source: str | None = None) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110, metadata={"Source": source} if source else None)


# Under docs: the results that it is drawn from, and how.
PICTURES = {
    "parity.png": ("verdicts-cpu", verdicts),
    "bench/ratios.png": ("cpu", ratios),
    "bench/long.png": ("cpu", long),
}


def main() -> int:
    """Draw every picture of the docs from the newest results; 1 where there are none for one of them."""
    missing = 0
    for picture, (subject, drawing) in PICTURES.items():
        try:
            source = newest(subject)
        except MissingResults as error:
            print(f"docs/{picture}: {error}", file=sys.stderr)
            missing = 1
            continue
        save(drawing(json.loads(source.read_text(encoding="utf-8"))), Path("docs", picture), fingerprint(source))
        print(f"docs/{picture} from {source}")
    return missing


if __name__ == "__main__":
    sys.exit(main())
