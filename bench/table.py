"""Print saved benchmarks as a markdown table: python -m rnn_parity.bench.table FILE.json."""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

STEPS = ("forward", "training")

# (device, kind, shape) -> (step, implementation) -> milliseconds
Times = dict[tuple[str, str, str], dict[tuple[str, str], float]]


class TableError(ValueError):
    """A file that holds no benchmarks of the layers; the message is one line."""


def load(path: Path) -> dict[str, Any]:
    """Read a file that `--benchmark-json` wrote.

    Raises:
        TableError: the file is missing, no JSON, or holds no benchmarks.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise TableError(f"{path}: expected the JSON that --benchmark-json writes, got {error}") from error
    if not isinstance(saved, dict) or not saved.get("benchmarks"):
        raise TableError(f"{path}: expected the JSON that --benchmark-json writes, got no benchmarks")
    return saved


def times_of(saved: dict[str, Any], path: Path) -> Times:
    """Take the median time of each benchmark, of its passes the one that was disturbed least.

    Raises:
        TableError: the benchmarks are not those of bench_layers.py.
    """
    times: Times = defaultdict(dict)
    try:
        for benchmark in saved["benchmarks"]:
            info = benchmark["extra_info"]
            row = times[info["device"], info["kind"], info["shape"]]
            column = info["step"], info["implementation"]
            row[column] = min(benchmark["stats"]["median"] * 1e3, row.get(column, float("inf")))
    except (KeyError, TypeError) as error:
        raise TableError(f"{path}: expected the benchmarks of bench_layers.py, got one without {error}") from error
    return times


def table(times: Times) -> str:
    """Lay the times out: milliseconds a call, and each implementation's multiple of the built-in's time."""
    lines = [
        "| device | layer | shape | forward: built-in | manual | | per-sample "
        "| training: built-in | manual | | per-sample |",
        "| --- | --- | --- " + "| ---: " * 8 + "|",
    ]
    for (device, kind, shape), row in times.items():
        cells = [device, kind, shape]
        for step in STEPS:
            base, ours, loop = (row.get((step, name)) for name in ("builtin", "manual", "per-sample"))
            cells += [milliseconds(base), milliseconds(ours), multiple(ours, base), multiple(loop, base)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def milliseconds(time: float | None) -> str:
    """Three significant digits, or nothing for a time that was not taken."""
    return "" if time is None else f"{time:.3g} ms"


def multiple(time: float | None, base: float | None) -> str:
    """How many times the base a time is."""
    return "" if time is None or base is None else f"{time / base:.2f}x"


def machine(saved: dict[str, Any]) -> str:
    """Describe the machine in one line."""
    info = defaultdict(lambda: "unknown", saved.get("machine_info") or {})
    gpu = f", {info['gpu']}, TF32 off" if info.get("gpu") else ""
    return (
        f"{info['cpu']}, {info['cores']} cores, {info['threads']} threads{gpu}; torch {info['torch']}, "
        f"Python {info['python_version']}, float32; {saved.get('datetime', 'unknown date')[:10]}"
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the machine and the table; 1 and one line on standard error for a file that will not do."""
    parser = argparse.ArgumentParser(prog="rnn_parity.bench.table", description=__doc__)
    parser.add_argument("file", type=Path, help="what `pytest bench/bench_layers.py --benchmark-json` wrote")
    path = parser.parse_args(arguments).file
    try:
        saved = load(path)
        text = table(times_of(saved, path))
    except TableError as error:
        print(f"rnn_parity.bench.table: {error}", file=sys.stderr)
        return 1
    print(f"{machine(saved)}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
