"""The global random generators, while cases are judged."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from rnn_parity.judge.core.guard import Streams

DRAWS: dict[str, Callable[[], float]] = {
    "Python": random.random,
    "NumPy": lambda: float(np.random.random()),
    "PyTorch": lambda: torch.rand(1, dtype=torch.float64).item(),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_no_case_and_no_trial_draws_what_another_drew(draw: Callable[[], float]) -> None:
    # Where every trial drew the same, a random fault that one of them missed was missed by all.
    drawn = set()
    for _ in range(2):
        streams = Streams()
        for _ in range(2):
            random.seed(0)  # as Hypothesis does for each case
            np.random.seed(0)
            with streams.case():
                drawn.add(draw())
            assert streams.reseeded is None
    assert len(drawn) == 4


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_outside_they_stay_as_they_were(draw: Callable[[], float]) -> None:
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = [draw() for _ in range(2)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    found = [draw()]
    with Streams().case():
        draw()
    assert [*found, draw()] == expected


@pytest.mark.parametrize(("seed", "name"), [(random.seed, "Python's"), (np.random.seed, "NumPy's")])
def test_one_that_was_seeded_is_named(seed: Callable[[int], None], name: str) -> None:
    streams = Streams()
    for _ in range(2):
        with streams.case():
            seed(5)
    assert streams.reseeded == name
