"""Processes of base and head in turn: blocks of base, head, head, base, or the other way round."""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnn_parity.bench.gate.plan import Plan
from rnn_parity.bench.gate.sides import Side, last_line
from rnn_parity.bench.gate.workplace import GateError, Workplace, environment

BASE, HEAD = "base", "head"

Ratios = Mapping[str, float]  # log(layer / control) by aggregate, of one process
Measure = Callable[[str], Ratios]  # in a process of the side that is named


class Block(NamedTuple):
    """Four processes in the order in which they ran."""

    order: str  # "ABBA" or "BAAB", A being base
    processes: tuple[Ratios, ...]

    def of(self, side: str) -> list[Ratios]:
        """Return both processes of "A" or "B", in order."""
        return [process for letter, process in zip(self.order, self.processes, strict=True) if letter == side]

    def pairs(self, aggregate: str) -> list[float]:
        """Return log(head / base) of both pairs."""
        return [head[aggregate] - base[aggregate] for base, head in zip(self.of("A"), self.of("B"), strict=True)]

    def control(self, aggregate: str) -> float:
        """Return log(base / base) of its two processes of base, the later over the earlier."""
        earlier, later = self.of("A")
        return later[aggregate] - earlier[aggregate]


def block(measure: Measure, chance: random.Random) -> Block:
    """Run four processes, in an order drawn at random."""
    order = chance.choice(("ABBA", "BAAB"))
    return Block(order, tuple(measure({"A": BASE, "B": HEAD}[letter]) for letter in order))


class Timer:
    """Takes blocks until the time is up.

    Args:
        place: where processes run.
        sides: base and head.
        plan: what they measure.
        deadline: on the clock of time.monotonic; no block is begun that would end later.
        keep: a folder for what each process wrote.
    """

    def __init__(
        self, place: Workplace, sides: Mapping[str, Side], plan: Plan, deadline: float, keep: Path | None = None
    ) -> None:
        self.place, self.sides, self.plan, self.deadline, self.keep = place, sides, plan, deadline, keep
        self.chance, self.longest, self.count = random.Random(), 0.0, 0

    def take(self, aggregates: Sequence[str]) -> Block | None:
        """Measure some aggregates in a block of four processes; None where the time is up."""
        start = time.monotonic()
        if start + self.longest > self.deadline:
            return None
        plan = replace(self.plan, aggregates=[a for a in self.plan.aggregates if str(a) in aggregates])
        found = block(lambda side: self._measure(self.sides[side], plan), self.chance)
        self.longest = max(self.longest, time.monotonic() - start)
        return found

    def _measure(self, side: Side, plan: Plan) -> Ratios:
        plan_file, times_file = self.place.folder / "plan.json", self.place.folder / "times.json"
        plan.write(plan_file)
        command = [sys.executable, "-m", "rnn_parity.bench.gate.measure", str(plan_file), str(times_file)]
        ended = self.place.run(command, environment(side.paths, plan.threads))
        if ended.returncode:
            raise GateError(f"{side} could not be timed: {last_line(ended.stdout)}")
        if self.keep is not None:
            self.count += 1
            self.keep.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(times_file, self.keep / f"{self.count:03}-{side.name}.json")
        return ratios_of(times_file)


def ratios_of(times_file: Path) -> dict[str, float]:
    """Read what a process measured.

    Args:
        times_file: pytest-benchmark's JSON.

    Returns:
        For each aggregate the mean, over its shapes, of the logarithm of the layer's time over the control's.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for benchmark in json.loads(times_file.read_text())["benchmarks"]:
        info = benchmark["extra_info"]
        found[info["aggregate"]].append(math.log(undisturbed(info["layer"]) / undisturbed(info["control"])))
    return {aggregate: float(np.mean(logs)) for aggregate, logs in found.items()}


def undisturbed(seconds: Sequence[float]) -> float:
    """Return the mean of the faster half of some rounds: what disturbs one makes it slower, never faster."""
    return float(np.mean(np.sort(seconds)[: (len(seconds) + 1) // 2]))
