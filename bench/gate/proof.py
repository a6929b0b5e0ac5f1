"""How often the gate is wrong: run many times over, and on resampled processes.

    python -m rnn_parity.bench.gate.proof run proof     real gates, for hours
    python -m rnn_parity.bench.gate.proof judge proof    the figures of what they recorded

`run` takes a clone of the repository and gates, in turn, a commit that changes a comment, one that slows a layer by
10 %, and a commit against itself. `judge` counts what those answered, draws gates from the processes they recorded, and
lets other rules judge the same processes.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from cpuinfo import get_cpu_info  # comes with pytest-benchmark
from scipy.stats import mannwhitneyu
from tqdm import tqdm

from rnn_parity.bench.gate.compare import compared
from rnn_parity.bench.gate.pairs import Block, ratios_of
from rnn_parity.bench.gate.rule import Answer

LAYER = "manual/fused/layers.py"  # what the commits change
COMMENT = "\n# The layers of this file are those of one direction.\n"
# A tenth of a training step is more of its forward pass, in which it is spent; the shares were measured.
SLOWED = '''

def _slowed(forward):
    """Hold a call up by a tenth of its time, that of the backward pass to come included."""

    def slower(self, *args, **kwargs):
        start = time.perf_counter()
        result = forward(self, *args, **kwargs)
        now = time.perf_counter()
        end = now + (now - start) * (0.19 if torch.is_grad_enabled() else 0.09)
        while time.perf_counter() < end:
            pass
        return result

    return slower


import time

GRU.forward = _slowed(GRU.forward)
'''
# By kind: what is appended to the layers at head, and how often in a turn.
COMMITS = {"comment": (COMMENT, 1), "slow": (SLOWED, 1), "same": ("", 2)}

NOTHING, LAYER_SLOWED = "nothing", "fused:GRU"  # in the names of aggregates
SLOWDOWNS = (0.05, 0.1, 0.2)
RESAMPLED = 200  # gates, of each kind
MINUTES = 6  # of a real gate, at most: --quick, but with time to decide on a loaded machine
BLOCKS = 12  # that a resampled gate may take in each of its two comparisons: what fits into that time
ASV_P, ASV_FACTOR = 0.002, 1.1


class Cell(NamedTuple):
    """The rounds of a layer in a shape, in one process: seconds."""

    aggregate: str
    layer: np.ndarray[Any, Any]


Process = Mapping[str, Cell]  # by aggregate and shape


class Recorded(NamedTuple):
    """A block, with the rounds of each of its processes."""

    block: Block
    rounds: tuple[Process, ...]


def run(out: Path, turns: int) -> None:
    """Run real gates, and keep all they say and measure.

    Args:
        out: where; what is there already is not run again.
        turns: how many of each kind that is run once a turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        git = ["git", "-C", str(clone), "-c", "user.name=proof", "-c", "user.email=proof@localhost"]
        subprocess.run([*git, "branch", "left"], check=True)
        for kind, (appended, _) in COMMITS.items():
            subprocess.run([*git, "checkout", "--quiet", "-B", kind, "left"], check=True)
            with (clone / LAYER).open("a") as file:
                file.write(appended)
            subprocess.run([*git, "commit", "--quiet", "--all", "--allow-empty", "--message", kind], check=True)
        todo = [
            (kind, f"{kind}-{turn * often + k + 1}")
            for turn in range(turns)
            for kind, (_, often) in COMMITS.items()
            for k in range(often)
        ]
        for kind, name in tqdm(todo, unit="gate"):
            if not (out / f"{name}.json").exists():
                subprocess.run([*git, "checkout", "--quiet", kind], check=True)
                _gate(clone, out.resolve(), name)


def _gate(clone: Path, out: Path, name: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    kept = ["--json", str(out / f"{name}.json"), "--keep", str(out / f"{name}-kept")]
    quick = ["--base", "left", "--quick", "--minutes", str(MINUTES)]
    command = [sys.executable, "-m", "rnn_parity.bench.gate.command", *quick, *kept]
    with (out / f"{name}.txt").open("w") as said:
        subprocess.run(command, cwd=clone, stdout=said, stderr=subprocess.STDOUT, check=False)


def answers(out: Path) -> dict[str, dict[str, int]]:
    """Count what the real gates answered, by kind of commit."""
    found = {kind: Counter[str]() for kind in COMMITS}
    for path in out.glob("*.json"):
        found[path.stem.partition("-")[0]][json.loads(path.read_text())["answer"]] += 1
    return {kind: dict(counts) for kind, counts in found.items()}


def recorded(out: Path) -> list[Recorded]:
    """Read the blocks of all gates in which base and head are the same code."""
    folders = [path / "first" for kind in ("comment", "same") for path in sorted(out.glob(f"{kind}-*-kept"))]
    return [found for folder in folders for found in _blocks(sorted(folder.glob("*.json")))]


def _blocks(files: Sequence[Path]) -> Iterator[Recorded]:
    for start in range(0, len(files) - 3, 4):
        four = files[start : start + 4]
        order = "".join("A" if "base" in file.name else "B" for file in four)
        yield Recorded(Block(order, tuple(map(ratios_of, four))), tuple(map(_rounds, four)))


def _rounds(file: Path) -> Process:
    infos = [benchmark["extra_info"] for benchmark in json.loads(file.read_text())["benchmarks"]]
    return {f"{i['aggregate']} {i['shape']}": Cell(i["aggregate"], np.asarray(i["layer"])) for i in infos}


def drawn(pool: Sequence[Recorded], chance: random.Random) -> Recorded:
    """Draw a block, with replacement; base and head, which are the same code, change places at random."""
    (order, processes), rounds = chance.choice(pool)
    if chance.random() < 0.5:
        order = order.translate(str.maketrans("AB", "BA"))
    return Recorded(Block(order, processes), rounds)


def slowed(found: Recorded, share: float, slower: Sequence[str]) -> Recorded:
    """Make the processes of head slower in some aggregates."""
    (order, processes), rounds = found
    extra = {name: np.log1p(share) for name in slower}
    ratios = tuple(
        {name: log + extra.get(name, 0.0) * (letter == "B") for name, log in process.items()}
        for letter, process in zip(order, processes, strict=True)
    )
    times = tuple(
        {name: _slowed(cell, share * (letter == "B" and cell.aggregate in slower)) for name, cell in process.items()}
        for letter, process in zip(order, rounds, strict=True)
    )
    return Recorded(Block(order, ratios), times)


def _slowed(cell: Cell, share: float) -> Cell:
    return Cell(cell.aggregate, cell.layer * (1 + share))


def gate_rule(draw: Callable[[], Recorded], aggregates: Sequence[str], tolerance: float) -> Answer:
    """Judge as the gate does."""

    def taking() -> Callable[[Sequence[str]], Block | None]:
        left = iter(range(BLOCKS))
        return lambda _: None if next(left, None) is None else draw().block

    return compared(taking(), taking(), aggregates, tolerance).answer()


Pair = tuple[Process, Process]  # base and head, one after the other


def _any_cell(slower: Callable[[np.ndarray[Any, Any], np.ndarray[Any, Any]], bool]) -> Callable[[Pair], bool]:
    return lambda pair: any(slower(pair[0][cell].layer, pair[1][cell].layer) for cell in pair[0])


def _mann_whitney(base: np.ndarray[Any, Any], head: np.ndarray[Any, Any]) -> float:
    return float(mannwhitneyu(head, base, alternative="two-sided").pvalue)


# Each says of the rounds of two runs whether the second is slower: so these rules are used.
OTHER_RULES: dict[str, Callable[[Pair], bool]] = {
    "pytest-benchmark, mean:5%": _any_cell(lambda base, head: bool(head.mean() > 1.05 * base.mean())),
    "pytest-benchmark, min:5%": _any_cell(lambda base, head: bool(head.min() > 1.05 * base.min())),
    "Mann-Whitney, 0.05": _any_cell(
        lambda base, head: bool(np.median(head) > np.median(base) and _mann_whitney(base, head) < 0.05)
    ),
    "asv, factor 1.1": _any_cell(
        lambda base, head: bool(np.median(head) > ASV_FACTOR * np.median(base) and _mann_whitney(base, head) < ASV_P)
    ),
}


def pair_of(found: Recorded) -> Pair:
    """Return the first pair of a block."""
    order, rounds = found.block.order, found.rounds
    return rounds[order.index("A")], rounds[order.index("B")]


def judge(out: Path, tolerance: float) -> dict[str, Any]:
    """Return the figures of what was recorded.

    Args:
        out: what `run` filled.
        tolerance: of the gate.

    Returns:
        real: answers of the real gates by kind of commit.
        rules: by rule and what was done to head, the share of 200 resampled gates in which it was called slower;
            for the gate also the share that it left undecided.
        processes: how many were recorded.
        resampled, minutes, tolerance, machine: what all that hangs on.
    """
    done: dict[str, tuple[float, str]] = {"in nothing": (0.0, NOTHING)}
    for share in SLOWDOWNS:
        done[f"in a layer, {share:.0%}"] = share, LAYER_SLOWED
        done[f"in a step of a layer, {share:.0%}"] = share, f"{LAYER_SLOWED} training"
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(partial(judge_change, out, tolerance), *zip(*done.values(), strict=True)))
    return {
        "real": answers(out),
        "rules": {rule: dict(zip(done, (shares[rule] for shares in found), strict=True)) for rule in found[0]},
        "processes": 4 * len(recorded(out)),
        "resampled": RESAMPLED,
        "minutes": MINUTES,
        "tolerance": tolerance,
        "machine": f"{get_cpu_info().get('brand_raw', 'unknown')}; torch {torch.__version__}",
    }


def judge_change(out: Path, tolerance: float, share: float, slower: str) -> dict[str, float]:
    """Draw gates in which head is slower, and return in what share of them each rule says so.

    Args:
        out: what `run` filled.
        tolerance: of the gate.
        share: by how much it is slower.
        slower: what the names of the aggregates in which it is hold.
    """
    pool, chance = recorded(out), random.Random(0)
    aggregates = list(pool[0].block.processes[0])
    named = [name for name in aggregates if slower in name]

    def draw() -> Recorded:
        return slowed(drawn(pool, chance), share, named)

    gates = Counter(gate_rule(draw, aggregates, tolerance) for _ in range(RESAMPLED))
    pairs = [pair_of(draw()) for _ in range(RESAMPLED)]
    own = {"gate": gates[Answer.REGRESSION] / RESAMPLED, "gate, undecided": gates[Answer.UNDECIDED] / RESAMPLED}
    return own | {name: sum(map(rule, pairs)) / RESAMPLED for name, rule in OTHER_RULES.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run gates, or judge what they recorded."""
    parser = argparse.ArgumentParser(
        prog="rnn_parity.bench.gate.proof", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "judge"))
    parser.add_argument("folder", type=Path, help="where the gates are recorded")
    parser.add_argument("--turns", type=int, default=10, help="of four gates each (default %(default)s)")
    parser.add_argument("--tolerance", type=float, default=5.0, metavar="PERCENT", help="default %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    chosen = parser.parse_args(arguments)
    if chosen.what == "run":
        run(chosen.folder, chosen.turns)
        return 0
    figures = json.dumps(judge(chosen.folder, chosen.tolerance / 100), indent=1)
    print(figures)
    if chosen.json is not None:
        chosen.json.write_text(figures + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
