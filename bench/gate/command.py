"""Is this branch slower, dearer or less right than the commit it left?

    rnn-parity gate --base origin/main                 the layers of this project
    rnn-parity gate --base origin/main --implementation gru=my_layers:MyGRU
    rnn-parity gate --base origin/main --quick         in 3 minutes: counts, and times of small shapes

Base is the commit at which the branch left --base, head the working tree as it is. Both are checked out and installed
without their dependencies beside the same PyTorch. First the results are held against the truth, counts that do not
vary are compared, and the judge is asked; then both are timed, in fresh processes in turn, with the built-in layer as
the control.

Exit status: 0 fine, 1 a regression, 3 undecided, which is never to be taken for fine, 4 the command cannot be followed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from cpuinfo import get_cpu_info  # comes with pytest-benchmark

from rnn_parity.bench.gate import exact, verdicts
from rnn_parity.bench.gate.compare import Timing, compared
from rnn_parity.bench.gate.outcome import Outcome
from rnn_parity.bench.gate.pairs import BASE, HEAD, Timer
from rnn_parity.bench.gate.plan import OURS, QUICK_SHAPES, SHAPES, Layer, Plan, aggregates_of
from rnn_parity.bench.gate.rule import Answer
from rnn_parity.bench.gate.sides import Side, git, merge_base, prepared, snapshot
from rnn_parity.bench.gate.workplace import GateError, Workplace, workplace
from rnn_parity.bench.history import HistoryError, append
from rnn_parity.judge.core.candidate import ImplementationError, parse_implementation
from rnn_parity.judge.page.verdicts import write_whole

STATUS = {Answer.FINE: 0, Answer.REGRESSION: 1, Answer.UNDECIDED: 3}
USAGE_ERROR, INTERRUPTED = 4, 130
CHECKS = ("counts", "verdicts", "times")
MINUTES, QUICK_MINUTES = 10.0, 3.0
FIRST = 0.75  # of the time, at most, until the first comparison ends; the rest is for what looks slower


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the options."""
    parser = argparse.ArgumentParser(
        prog="rnn-parity gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # fmt: off
    add = parser.add_argument
    add("--base", metavar="REV", help="what the branch is to be merged into, such as origin/main")
    add("--implementation", metavar="KIND=MODULE:ATTRIBUTE", action="append", default=[],
        help="a layer to measure, such as gru=my_layers:MyGRU; may be repeated (default: those of this project)")
    add("--quick", action="store_true", help="no judge, no instruction counts, small shapes; in 3 minutes")
    add("--only", nargs="+", choices=CHECKS, metavar="CHECK", help=f"of {', '.join(CHECKS)}")
    add("--minutes", type=float, help=f"at most (default {MINUTES:g}, quick {QUICK_MINUTES:g})")
    add("--tolerance", type=float, default=5.0, metavar="PERCENT", help="slowdown let pass (default %(default)s)")
    add("--threads", type=int, default=1, help="of PyTorch (default %(default)s)")
    add("--counts", type=Path, default=Path("gate-counts.json"), metavar="FILE",
        help="accepted counts, committed with what changes them (default %(default)s)")
    add("--write-counts", action="store_true", help="write the counts of the working tree to that file, and end")
    add("--history", type=Path, metavar="FILE", help="append what was timed of head, where it is committed")
    add("--json", type=Path, metavar="FILE", help="write what was found, with every process that was timed")
    add("--keep", type=Path, metavar="FOLDER", help="keep what pytest-benchmark wrote of each process")
    # fmt: on
    chosen = parser.parse_args(arguments)
    chosen.minutes = chosen.minutes or (QUICK_MINUTES if chosen.quick else MINUTES)
    chosen.only = chosen.only or (("counts", "times") if chosen.quick else CHECKS)
    if chosen.base is None and not chosen.write_counts:
        parser.error("expected --base REV, such as --base origin/main")
    for name in ("history", "json"):
        path = getattr(chosen, name)
        if path is not None and not path.parent.is_dir():
            raise GateError(f"expected a folder for --{name}, got {path.parent}, which is none")
    if chosen.minutes <= 0 or not 0 < chosen.tolerance < 100 or chosen.threads < 1:
        parser.error("--minutes and --tolerance must be more than 0, --threads at least 1")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gate, print what it found, and return its exit status."""
    try:
        return gate(options(arguments))
    except SystemExit as ended:
        return USAGE_ERROR if ended.code == 2 else int(ended.code or 0)  # 2 is what argparse says
    except KeyboardInterrupt:
        return INTERRUPTED
    except (GateError, HistoryError, ImplementationError) as error:
        print(f"rnn-parity gate: {' '.join(str(error).split())}", file=sys.stderr)
        return USAGE_ERROR


def gate(chosen: argparse.Namespace) -> int:
    """Do what the options say.

    Raises:
        GateError: it cannot be done.
    """
    start = time.monotonic()
    layers = [Layer(*parse_implementation(text)) for text in chosen.implementation] or list(OURS)
    plan = Plan(aggregates_of(layers), QUICK_SHAPES if chosen.quick else SHAPES, threads=chosen.threads)
    with workplace(Path(git("rev-parse", "--show-toplevel"))) as place:
        run = Gate(chosen, place, start + 60 * chosen.minutes)
        if chosen.write_counts:
            return run.write_counts(prepared({HEAD: snapshot(place.folder)}, place)[HEAD], plan)
        accepted = exact.read_accepted(chosen.counts)
        both = prepared({BASE: merge_base(chosen.base), HEAD: snapshot(place.folder)}, place)
        outcome = run.outcome(both, plan, accepted)
    outcome.seconds = time.monotonic() - start
    print("\n".join(outcome.lines()))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a") as file:
            print("```text", *outcome.lines(), "```", sep="\n", file=file)
    if chosen.json is not None:
        write_whole(chosen.json, json.dumps(outcome.record()) + "\n")
    if chosen.history is not None:
        keep(chosen.history, outcome, both[HEAD].commit, plan)
    return STATUS[outcome.answer()]


def keep(path: Path, outcome: Outcome, commit: str, plan: Plan) -> None:
    """Append what was timed of head to a history, where head is a commit that others can have."""
    if commit != git("rev-parse", "HEAD"):
        print(f"{path}: nothing appended, the working tree is not committed")
        return
    fingerprint = {
        "cpu": get_cpu_info().get("brand_raw", "unknown"),
        "gpu": torch.cuda.get_device_name() if plan.device == "cuda" else None,
        "torch": torch.__version__,
        "threads": plan.threads,
        "precision": "float32",
        "shapes": "; ".join(str(shape) for shape, _ in plan.shapes),
    }
    records = outcome.history(commit, fingerprint)
    notes = append(path, records)
    print("\n".join([*notes, f"{path}: {len(records)} records appended"]))


class Gate:
    """The checks, one after the other: the first that fails is enough.

    Args:
        chosen: the options.
        place: where it works.
        deadline: when it is to be done, on the clock of time.monotonic.
    """

    def __init__(self, chosen: argparse.Namespace, place: Workplace, deadline: float) -> None:
        self.chosen, self.place, self.deadline = chosen, place, deadline

    def outcome(self, both: Mapping[str, Side], plan: Plan, accepted: exact.Cells) -> Outcome:
        """Run the checks that are chosen."""
        found = Outcome(str(both[BASE]), str(both[HEAD]), self.chosen.tolerance / 100)
        base, head = self.place.each(lambda side: exact.counts_of(self.place, both[side], plan), (BASE, HEAD))
        layers = _comparable(base, head, found)
        plan = replace(
            plan, aggregates=[a for a in plan.aggregates if a.layer in layers and a.step in base[str(a.layer)]]
        )
        found.counts = exact.totals_of({str(layer): head[str(layer)] for layer in layers})
        if "counts" in self.chosen.only and layers:
            found.changes = self._changes(both, plan, (base, head), accepted)
        if "verdicts" in self.chosen.only and not found.dearer():
            found.lost += self._lost(both, layers)
        if "times" in self.chosen.only and found.answer() == Answer.FINE:
            found.timing = self._timing(both, plan)
        return found

    def _changes(
        self, both: Mapping[str, Side], plan: Plan, counts: Sequence[Mapping[str, Any]], accepted: exact.Cells
    ) -> list[exact.Change]:
        kept = {str(aggregate.layer) for aggregate in plan.aggregates}
        cells = base, head = [exact.cells_of({layer: of[layer] for layer in kept}) for of in counts]
        if not self.chosen.quick:
            exact.add_instructions(self.place, (both[BASE], both[HEAD]), plan, cells)
        return exact.changes(base, head, accepted)

    def _lost(self, both: Mapping[str, Side], layers: Sequence[Layer]) -> list[str]:
        head = verdicts.judged(self.place, both[HEAD], layers)
        wrong = verdicts.wrong(head)
        return verdicts.lost(verdicts.judged(self.place, both[BASE], wrong), head) if wrong else []

    def _timing(self, both: Mapping[str, Side], plan: Plan) -> Timing:
        now = time.monotonic()
        keep = self.chosen.keep
        first = Timer(self.place, both, plan, now + FIRST * (self.deadline - now), keep and keep / "first")
        again = Timer(self.place, both, plan, self.deadline, keep and keep / "second")
        return compared(first.take, again.take, list(map(str, plan.aggregates)), self.chosen.tolerance / 100)

    def write_counts(self, head: Side, plan: Plan) -> int:
        """Write the counts of head, to be committed."""
        counts = exact.counts_of(self.place, head, plan)
        for layer, steps in counts.items():
            if isinstance(steps, str):
                raise GateError(f"{head}: {layer}: {steps}")
        cells = [exact.cells_of(counts)]
        if not self.chosen.quick:
            exact.add_instructions(self.place, (head,), plan, cells)
        exact.write_accepted(self.chosen.counts, cells[0])
        print(f"{self.chosen.counts}: counts of {head}")
        return 0


def _comparable(base: Mapping[str, Any], head: Mapping[str, Any], found: Outcome) -> list[Layer]:
    """Return the layers that both sides have, and note of the others why they are not compared."""
    layers = []
    for layer in head:
        if isinstance(base[layer], str):
            found.notes.append(f"not compared: {found.base}: {layer}: {base[layer]}")
        elif isinstance(head[layer], str):
            found.lost.append(f"{found.head}: {layer}: {head[layer]}")
        else:
            layers.append(Layer(*layer.split("=", 1)))
    if len(found.notes) == len(head):
        raise GateError(found.notes[0].replace("not compared", "nothing to compare with"))
    return layers


if __name__ == "__main__":
    sys.exit(main())
