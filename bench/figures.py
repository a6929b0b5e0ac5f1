"""Put the figures of the committed results into README and docs, or say where they differ.

    python -m rnn_parity.bench.figures            # from the project's root
    python -m rnn_parity.bench.figures --check

In a page, what stands between `<!-- figures: TEMPLATE -->` and `<!-- end -->` is TEMPLATE, filled in by `str.format`:
`{speed[fused RNN training]}` becomes "0.58 to 1.10". The names are in `NAMES`; of each kind of results in
`bench/results`, the file of the newest date counts. --check also tells which picture was drawn from other results.
"""

import argparse
import difflib
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from PIL import Image

from rnn_parity.bench import calibrate, table
from rnn_parity.bench.committed import MissingResults, fingerprint, newest, read
from rnn_parity.bench.pictures import PICTURES

MARK = re.compile(r"(<!-- figures:\s(?P<template>.*?)\s-->)(?P<shown>.*?)(<!-- end -->)", re.DOTALL)
FENCE = "```"


class FiguresError(ValueError):
    """A page that cannot be filled in; the message is one line."""


class Speed:
    """What `compare` measured."""

    def __init__(self, measured: dict[str, Any]) -> None:
        self.measured, self.day = measured, measured["day"]
        self.machine = table.machine(measured)
        self.times = "\n".join(table.times(measured))
        self.rows = "\n".join(table.short_table(measured))
        self.long = "\n".join(table.long_table(measured))
        self.epoch = table.epoch_line(measured)
        self.left_out = "\n".join(f"- {line}" for line in table.left_out(measured))
        goals = list(table.outcomes(measured))
        self.goals, self.met = len(goals), sum(goal.met for goal in goals)
        self.missed = "\n".join(table.missed(goals))

    def __getitem__(self, key: str) -> str:
        """Return the range of an arm's medians: of "fused RNN packed training", or at one shape alone."""
        arm, *setting, step = key.split()
        found = [
            timing["arms"][arm]["median"]
            for timing in self.measured["timings"]
            if timing["step"] == step and arm in timing["arms"]
            if " ".join(setting) in (timing["setting"]["name"], str(table.setting_of(timing)))
        ]
        if not found:
            raise FiguresError(f"expected ARM SETTING STEP that was measured, got {key!r}")
        return spanned(found)

    @property
    def memory(self) -> str:
        """The fused layers' peak over the built-in's, over all settings."""
        return spanned(s for timing in self.measured["timings"] if (s := table.memory_share(timing)) is not None)

    @property
    def checkpointed(self) -> str:
        """The time of a checkpointed fused layer over that of the plain one, on the longest sequences."""
        arms = [long["arms"] for long in self.measured["long"]]
        return spanned(found["checkpointed"]["seconds"][-1] / found["fused"]["seconds"][-1] for found in arms)

    @property
    def steps(self) -> str:
        """How many steps the longest sequences have."""
        return f"{self.measured['long'][0]['steps'][-1]:,}"


class Calibration:
    """What right layers needed of the tolerance."""

    def __init__(self, measured: dict[str, Any]) -> None:
        self.rows = measured["rows"]
        self.day, self.torch, self.factor = measured["day"], measured["torch"], measured["factor"]
        self.dtypes, self.tensors, self.trials = "\n".join(
            calibrate.table(self.rows, measured.get("trials", []))
        ).split("\n\n")
        self.all = {row["dtype"]: SimpleNamespace(**row) for row in self.rows if row["tensor"] == "all"}
        self.verdicts = f"{sum(row.verdicts for row in self.all.values()):,}"
        self.flagged = sum(row.flagged for row in self.all.values())

    def __getitem__(self, dtype: str) -> SimpleNamespace:
        return self.all[dtype]

    @property
    def p99(self) -> str:
        """What 99 of 100 tensors of any dtype stay below."""
        return f"{max(row.p99 for row in self.all.values()):.2f}"

    @property
    def least(self) -> str:
        """The smallest error that can be called a fault in each dtype, as a share of a tensor's largest value."""
        shares = {name: self.factor * torch.finfo(getattr(torch, name)).eps / 2 for name in self.all}
        return ", ".join(f"{share:.2g} in {name}" for name, share in shares.items())


class Trials:
    """How often right layers were judged, and flagged, by trials that were calibrated by themselves."""

    def __init__(self, measured: dict[str, Any]) -> None:
        self.day = measured["day"]
        self.verdicts, self.flagged = (
            f"{sum(row[c] for row in measured['trials']):,}" for c in ("verdicts", "flagged")
        )


class Score:
    """What became of every planted fault; each row of `pairs` is the worst of its seeds."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.pairs, self.day = found["pairs"], found["day"]
        self.machine = f"{found['machine']['machine']}; {found['machine']['versions']}"
        self.defects = len({pair["defect"] for pair in self.pairs})
        self.caught = sum(pair["caught"] == "yes" for pair in self.pairs)
        self.planted = len(self.pairs)
        counts = Counter(pair["seeds"] for pair in self.pairs)
        told = (f"{pairs} with {f'each of {n} seeds' if n > 1 else 'one seed'}" for n, pairs in sorted(counts.items()))
        self.seeds = ", ".join(reversed([*told]))

    @property
    def layers(self) -> str:
        """A row for each layer, and one for all."""
        lines = [
            "| layer | defects | caught with every seed | cases: median, most | seconds: median, most "
            "| lines of the reproducer, most |",
            "| --- |" + " ---: |" * 5,
        ]
        for layer in [*dict.fromkeys(pair["layer"] for pair in self.pairs), "all"]:
            of_layer = [pair for pair in self.pairs if layer in (pair["layer"], "all")]
            cases, seconds, length = ([p[c] for p in of_layer] for c in ("cases", "seconds", "reproducer's lines"))
            lines.append(
                f"| {layer} | {len(of_layer)} | {sum(pair['caught'] == 'yes' for pair in of_layer)} "
                f"| {statistics.median(cases):.0f}, {max(cases)} "
                f"| {statistics.median(seconds):.1f}, {max(seconds):.1f} | {max(length)} |"
            )
        return "\n".join(lines)

    @property
    def table(self) -> str:
        """Every defect in every layer."""
        columns = list(self.pairs[0])
        lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        return "\n".join([*lines, *(f"| {' | '.join(str(pair[c]) for c in columns)} |" for pair in self.pairs)])


class Proof:
    """How often the gate was wrong, and other rules on the same processes."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.day, self.found = found["day"], found
        self.rules: dict[str, dict[str, float]] = found["rules"]

    @property
    def real(self) -> str:
        """What the real gates answered."""
        told = {
            "comment": "on a commit that changes a comment",
            "same": "on a commit against itself",
            "slow": "on one that slows the fused GRU by 10 %",
        }
        lines = (
            f"{', '.join(f'{count} {answer}' for answer, count in sorted(counts.items()))} {told[kind]}"
            for kind, counts in self.found["real"].items()
        )
        how = f"by `--quick` with {self.found['minutes']} minutes ({self.found['machine']})"
        return f"Real gates, {how}: {'; '.join(lines)}."

    @property
    def resampled(self) -> str:
        """How the table came to be."""
        return (
            f"Each row of the table is of {self.found['resampled']} gates that were not run but drawn, with "
            f"replacement, from the {self.found['processes']:,} processes of those real gates in which base and head "
            "are the same code; a slowdown is put into the times of head. It says in how many head was called slower."
        )

    @property
    def table(self) -> str:
        """What was done to head, and how often each rule calls it slower."""
        done = list(self.rules["gate"])
        lines = [f"| head is slower | {' | '.join(self.rules)} |", "| --- |" + " ---: |" * len(self.rules)]
        lines += [f"| {what} | {' | '.join(f'{of[what]:.1%}' for of in self.rules.values())} |" for what in done]
        return "\n".join(lines)


class Compatibility:
    """What `compatibility` found can be done with a layer."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.corners, self.day, versions = found["corners"], found["day"], found["versions"]
        self.versions = ", ".join(f"{name} {version}" for name, version in versions.items())
        answers = [{said for of in corner["layers"].values() for said in of.values()} for corner in self.corners]
        self.asked = sum(not all(said.startswith("not asked") for said in of_corner) for of_corner in answers)

    def __getitem__(self, group: str) -> str:
        """Return a group's table."""
        rows = [corner for corner in self.corners if corner["group"] == group]
        if not rows:
            raise FiguresError(f"expected a group of corners, got {group!r}")
        layers = list(rows[0]["layers"])
        lines = [f"| {' | '.join(['', *layers])} |", "| --- |" + " --- |" * len(layers)]
        cells = ([row["title"], *map(of_kinds, row["layers"].values())] for row in rows)
        return "\n".join([*lines, *(f"| {' | '.join(of_row)} |" for of_row in cells)])

    def count(self, layers: str) -> int:
        """Return how many corners hold in every kind of these layers."""
        return sum(set(corner["layers"][layers].values()) == {"yes"} for corner in self.corners)

    @property
    def holding(self) -> SimpleNamespace:
        """How many corners hold, by layers."""
        return SimpleNamespace(
            builtin=self.count("torch.nn"), manual=self.count("manual"), fused=self.count("manual.fused")
        )


def of_kinds(answers: dict[str, str]) -> str:
    """Return what is said of all kinds, once where it is the same: "RNN, GRU: yes; LSTM: no: why"."""
    kinds: dict[str, list[str]] = {}
    for kind, answer in answers.items():
        kinds.setdefault(answer, []).append(kind)
    if len(kinds) == 1:
        return next(iter(kinds))
    return "; ".join(f"{', '.join(of)}: {answer}" for answer, of in kinds.items())


class Printed:
    """The lines that a command printed; a format picks some of them by `excerpt`, and fences them."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines

    def __format__(self, picked: str) -> str:
        return "\n".join([f"{FENCE}text", *(line.rstrip() for line in excerpt(self.lines, picked)), FENCE])


def excerpt(lines: Sequence[str], picked: str) -> list[str]:
    """Return some lines, with "..." where others were left out between them.

    Args:
        lines: to pick from.
        picked: "-3" for the last three lines, "PATTERN" for the first line that holds PATTERN, "PATTERN+2" for that and
            the next two; several, parted by " / ".

    Raises:
        FiguresError: no line holds a pattern.
    """
    shown: list[str] = []
    end = None
    for part in picked.split(" / "):
        pattern, _, more = part.partition("+")
        if re.fullmatch(r"-\d+", part):
            first, last = max(0, len(lines) + int(part)), len(lines)
        elif found := [number for number, line in enumerate(lines) if pattern in line]:
            first, last = found[0], found[0] + 1 + int(more or 0)
        else:
            raise FiguresError(f"expected a line that holds {pattern!r} among those printed, found none")
        shown += ["..."] * (end is not None and first > end)
        shown += lines[first:last]
        end = last
    return shown


def printed(found: dict[str, Any]) -> dict[str, Printed]:
    """Return what each command of `capture` printed."""
    return {name: Printed(command["lines"]) for name, command in found["commands"].items()}


# What a page may show: by its first name, the results it comes from and what is made of them.
NAMES: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "speed": ("cpu", Speed),
    "calibration": ("calibration-cpu", Calibration),
    "argument": ("calibration-argument-cpu", Trials),
    "score": ("score-cpu", Score),
    "proof": ("gate", Proof),
    "printed": ("commands", printed),
    "compatibility": ("compatibility", Compatibility),
}


class Figures(dict[str, Any]):
    """Every figure that a page may show, read when it is first asked for.

    Args:
        root: the project's folder.
    """

    def __init__(self, root: Path = Path()) -> None:
        super().__init__()
        self.root = root

    def __missing__(self, name: str) -> Any:
        subject, make = NAMES[name]
        self[name] = make(read(subject, self.root))
        return self[name]


def spanned(values: Iterable[float]) -> str:
    """Return the least and the most of some figures, once where they are the same."""
    found = list(values)
    low, high = f"{min(found):.2f}", f"{max(found):.2f}"
    return low if low == high else f"{low} to {high}"


def filled(page: str, figures: Figures) -> str:
    """Return a page with its figures as the results have them.

    Raises:
        FiguresError: a name that there is not, results that are missing, a mark without its end or out of place.
    """

    def fill(mark: re.Match[str]) -> str:
        template = mark["template"]
        try:
            value = template.format_map(figures)
        except FiguresError:
            raise
        except MissingResults as error:
            raise FiguresError(f"{template!r}: {error}") from error
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise FiguresError(f"{template!r}: {type(error).__name__}: {error}") from error
        return f"{mark[1]}\n\n{value}\n\n{mark[4]}" if "\n" in mark["shown"] else f"{mark[1]}{value}{mark[4]}"

    if page.count("<!-- figures:") != len(MARK.findall(page)):
        raise FiguresError("expected every <!-- figures: ... --> to have its <!-- end -->")
    # Markdown takes a line that begins with a comment for HTML, and out of its paragraph.
    if found := re.search(r"^<!-- figures: [^\n]*?-->[^\n]+", page, re.MULTILINE):
        raise FiguresError(f"expected a figure within a line, or an empty line after its mark, got {found[0]!r}")
    return MARK.sub(fill, page)


def pages(root: Path) -> list[Path]:
    """Return what may hold figures."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def code_with(text: str, page: Path) -> str:
    """Return the block of Python on a page that holds a text."""
    blocks = re.findall(rf"{FENCE}python\n(.*?){FENCE}", page.read_text(encoding="utf-8"), re.DOTALL)
    return str(next(block for block in blocks if text in block))


def stale_pictures(root: Path) -> Iterator[str]:
    """Say which pictures were not drawn from the newest results."""
    for picture, (subject, _) in PICTURES.items():
        path = root / "docs" / picture
        try:
            source = newest(subject, root)
        except MissingResults as error:
            yield f"docs/{picture}: {error}"
            continue
        if not path.exists() or said_source(path) != fingerprint(source):
            yield f"docs/{picture}: not drawn from {source.name}; run python -m rnn_parity.bench.pictures"


def said_source(picture: Path) -> str | None:
    with Image.open(picture) as image:
        return image.info.get("Source")


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the pages in, or check them; 1 and what differs where a figure is not that of the results."""
    parser = argparse.ArgumentParser(
        prog="rnn_parity.bench.figures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where figures differ")
    check, root, wrong = parser.parse_args(arguments).check, Path.cwd(), []
    figures = Figures(root)
    for path in pages(root):
        name, before = str(path.relative_to(root)), path.read_text(encoding="utf-8")
        try:
            after = filled(before, figures)
        except FiguresError as error:
            wrong.append(f"{name}: {error}")
            continue
        if check and before != after:
            wrong += difflib.unified_diff(before.splitlines(), after.splitlines(), name, "results", lineterm="", n=0)
        elif before != after:
            path.write_text(after, encoding="utf-8")
            print(f"filled in {name}")
    wrong += stale_pictures(root) if check else []
    print("\n".join(wrong), end="\n" if wrong else "", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
