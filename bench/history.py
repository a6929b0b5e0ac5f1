"""How fast layers have been, commit by commit: a file of JSON lines, and its picture.

    rnn-parity gate --base origin/main --history FILE    appends what it measured of the head
    rnn-parity history FILE --out FOLDER                 draws it, and lists where something changed

A record is one aggregate of one commit: its ratio to the built-in with the 95 % interval of the median over processes,
its counts, and the fingerprint of what it was measured on. A new fingerprint starts a new series: times of machines,
or versions of PyTorch, are not compared. What changed is told, and blocks nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import ruptures
from filelock import FileLock

VERSION = 1
USAGE_ERROR = 4
FEWEST = 6  # records of a series in which a change is looked for
SHORTEST = 3  # records on either side of a change
PENALTY = 8.0  # of a change, times log(records) and the noise's variance: of steady series of 15 or more 0.5 % show one


class HistoryError(Exception):
    """What was expected and what came, in one line."""


@dataclass(frozen=True)
class Record:
    """One aggregate of one commit.

    Args:
        commit: its hash.
        date: when it was measured, as ISO 8601.
        aggregate: the layer and the step.
        ratio: its time over the built-in's, the geometric mean over its shapes, the median over processes.
        low: lower end of the median's 95 % interval.
        high: upper end.
        processes: how many.
        counts: totals over the shapes, by name.
        fingerprint: what it was measured on: cpu, gpu, torch, threads, precision, shapes.
        version: of the format.
    """

    commit: str
    date: str
    aggregate: str
    ratio: float
    low: float
    high: float
    processes: int
    counts: dict[str, int]
    fingerprint: dict[str, Any]
    version: int = VERSION

    def series(self) -> tuple[str, str]:
        """Return what it may be compared within: the fingerprint, as text, and the aggregate."""
        return ", ".join(f"{name} {value}" for name, value in self.fingerprint.items()), self.aggregate


def append(path: Path, records: Iterable[Record]) -> list[str]:
    """Add records at the end of a file.

    Several processes may append at once. Where one was killed while it wrote, its half line goes into a file beside.

    Returns:
        What was set aside and where, a line for each; mostly none.

    Raises:
        HistoryError: the file cannot be written, or is of a newer version.
    """
    if path.exists():
        read(path)
    text = "".join(json.dumps(asdict(record)) + "\n" for record in records)
    try:
        with FileLock(f"{path}.lock"), path.open("a+b") as file:
            notes = _set_aside_half_line(path, file)
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise HistoryError(f"expected a history that can be written, got {path}: {error.strerror}") from error
    return notes


def _set_aside_half_line(path: Path, file: Any) -> list[str]:
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole == len(content):
        return []
    broken = path.with_name(f"{path.name}.broken")
    with broken.open("ab") as beside:
        beside.write(content[whole:] + b"\n")
    file.truncate(whole)
    return [f"{path}: the last line was cut off, it is now in {broken}"]


def read(path: Path) -> tuple[list[Record], list[str]]:
    """Read a history.

    Returns:
        Its records in order.
        What could not be read, a line for each.

    Raises:
        HistoryError: there is no such file, or it is of a newer version.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HistoryError(f"expected a history of JSON lines, got {path}: {error}") from error
    records, notes = [], []
    for number, line in enumerate(lines, 1):
        try:
            fields = json.loads(line)
            if fields["version"] > VERSION:
                raise HistoryError(
                    f"{path}, line {number}: expected version {VERSION} or older, got {fields['version']}: "
                    "a newer rnn-parity wrote it"
                )
            records.append(Record(**fields))
        except (ValueError, KeyError, TypeError):
            notes.append(f"{path}, line {number}: no whole record, left out")
    return records, notes


def by_series(records: Iterable[Record]) -> dict[tuple[str, str], list[Record]]:
    """Group records by what may be compared, in order."""
    found: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        found[record.series()].append(record)
    return dict(found)


def changes(series: Sequence[Record]) -> list[int]:
    """Return the positions at which the level of a series changes: PELT, on the logarithm of the ratios.

    The noise is taken from the differences of neighbours, which a change of level hardly touches.
    """
    if len(series) < FEWEST:
        return []
    logs = np.log([record.ratio for record in series])
    noise = np.median(np.abs(np.diff(logs))) / (0.6745 * np.sqrt(2)) or np.finfo(float).eps
    search = ruptures.Pelt(model="l2", min_size=SHORTEST, jump=1).fit(logs / noise)
    found = search.predict(pen=PENALTY * np.log(len(logs)))
    return [int(end) for end in found[:-1]]


def told(records: Sequence[Record]) -> list[str]:
    """Return a line for each series, and one for each change in it."""
    lines = []
    for (_, aggregate), series in by_series(records).items():
        last = series[-1]
        interval = f"{last.ratio:.2f} ({last.low:.2f} to {last.high:.2f})"
        lines.append(f"{aggregate}: {interval} at {last.commit[:10]}, record {len(series)}")
        for start in changes(series):
            before, after = (np.median([r.ratio for r in part]) for part in (series[:start], series[start:]))
            lines.append(f"  changed at {series[start].commit[:10]}: {before:.2f} to {after:.2f}")
    return lines


def draw(records: Sequence[Record], out: Path) -> Path:
    """Draw a small multiple for each aggregate, a line for each fingerprint, with what changed marked.

    Args:
        records: all of a history.
        out: the folder for `history.svg`.

    Returns:
        The picture.
    """
    series = by_series(records)
    aggregates = list(dict.fromkeys(aggregate for _, aggregate in series))
    commits = list(dict.fromkeys(record.commit for record in records))
    columns = min(4, len(aggregates))
    rows = -(-len(aggregates) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.2 * columns, 2.2 * rows), squeeze=False, layout="constrained")
    for axis, aggregate in zip(axes.flat, aggregates, strict=False):
        of_it = {print_: of for (print_, name), of in series.items() if name == aggregate}
        for number, (fingerprint, of) in enumerate(of_it.items()):
            _draw_series(axis, commits, of, f"C{number}", fingerprint)
        axis.set_title(aggregate.replace("rnn_parity.", ""), fontsize=8)
        axis.set_xticks(range(len(commits)), [commit[:7] for commit in commits], rotation=90, fontsize=6)
    for axis in axes.flat[len(aggregates) :]:
        axis.axis("off")
    figure.supylabel("time / the built-in's", fontsize=9)
    named = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", fontsize=7)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "history.svg")
    plt.close(figure)
    return out / "history.svg"


def _draw_series(axis: Any, commits: Sequence[str], series: Sequence[Record], color: str, label: str) -> None:
    where = [commits.index(record.commit) for record in series]
    ratios = [record.ratio for record in series]
    ends = [[r.ratio - r.low for r in series], [r.high - r.ratio for r in series]]
    axis.errorbar(where, ratios, ends, marker="o", markersize=3, linewidth=1, color=color, label=label)
    for change in changes(series):
        axis.axvline(where[change] - 0.5, color=color, linestyle=":", linewidth=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a history, and tell what changed."""
    parser = argparse.ArgumentParser(
        prog="rnn-parity history", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="JSON lines, as the gate writes them")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for history.svg; without it nothing is drawn")
    try:
        chosen = parser.parse_args(arguments)
    except SystemExit as ended:
        return USAGE_ERROR if ended.code else 0
    try:
        records, notes = read(chosen.file)
        if not records:
            raise HistoryError(f"expected at least one record in {chosen.file}, got none")
    except HistoryError as error:
        print(f"rnn-parity history: {error}", file=sys.stderr)
        return USAGE_ERROR
    print("\n".join([*notes, *told(records)]))
    if chosen.out is not None:
        print(draw(records, chosen.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
