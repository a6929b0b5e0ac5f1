"""Which cases a trial draws: the same ones for the command, for `assert_parity` and for the published score."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ..core.candidate import Implementation, most_precise
from ..core.strategies import STRETCHES, TILED, past_tiles
from .trial import Trial

DEFAULT_EXAMPLES = 50  # cases for each trial
FEWEST = 5  # cases of a trial, where so many are asked for

ROUNDS = (0.25, 0.25, 0.25, 0.5)  # of a trial's examples, so that a fault shows soon, whatever shows it
STRETCHED_ROUND = 1  # after some small cases, some of each stretch: no run of luck leaves one out
TILED_ROUND = 2  # then some at the edges of tiles, for the trials that ask for them


@dataclass(frozen=True)
class Block:
    """Cases that are drawn in one go.

    Args:
        stretch: which size is drawn large, see `strategies.cases`; None for small sizes alone.
        examples: how many cases.
        seed: which ones.
    """

    stretch: str | None
    examples: int
    seed: int


def blocks(
    trial: Trial, implementation: Implementation, dtype: torch.dtype, examples: int, seed: int
) -> list[list[Block]]:
    """Return what a trial draws in each round.

    Args:
        trial: what is asked.
        implementation: of what.
        dtype: a fault of the equations shows in the most precise that there is; the others look for faults of their
            own, in half as many cases.
        examples: for a trial with a share of 1.
        seed: which cases.
    """
    share = trial.share if dtype == most_precise(implementation) else trial.share / 2
    wanted = max(min(FEWEST, examples), round(examples * share))
    rounds = []
    for number, part in enumerate(ROUNDS):
        plan: list[tuple[str | None, int]] = [(None, max(1, round(part * wanted)))]
        if number == STRETCHED_ROUND:
            plan += [(stretch, 1 + wanted // 16) for stretch in STRETCHES]
        if number == TILED_ROUND and trial.tiles:
            # One is past the largest tile, unless few are asked for: whatever ends at a tile shows there.
            past = [(how, 1) for how in past_tiles(implementation)] if wanted >= 16 else []
            plan += [(f"{how} {size}", n) for size in TILED for how, n in (*past, ("tile", max(1, wanted // 16)))]
        rounds.append([Block(stretch, count, _seed(trial, dtype, stretch, number, seed)) for stretch, count in plan])
    return rounds


def _seed(trial: Trial, dtype: torch.dtype, stretch: str | None, number: int, seed: int) -> int:
    return (len(ROUNDS) * seed + number) * 2**32 + zlib.crc32(f"{trial} {dtype} {stretch}".encode())


def in_rounds(
    trials: Sequence[Trial], implementation: Implementation, dtype: torch.dtype, examples: int, seed: int
) -> Iterator[tuple[Trial, list[Block]]]:
    """Yield a round of every trial, then the next: what is asked first is a little of everything."""
    plans = [blocks(trial, implementation, dtype, examples, seed) for trial in trials]
    for number in range(len(ROUNDS)):
        for trial, plan in zip(trials, plans, strict=True):
            yield trial, plan[number]
