"""An epoch of MNIST with the built-in and with the fused LSTM, side by side."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnn_parity.bench.rounds import ratio, timed
from rnn_parity.tasks.mnist import Mnist
from rnn_parity.tasks.task import Data, Run, TaskError, find_layer
from rnn_parity.tasks.train import build, seed_epoch, step

PIECES = 24  # of an epoch: at each the arms take turns


def measure_epoch(task: Mnist, arms: Sequence[str]) -> dict[str, Any]:
    """Train a task for one epoch with each arm.

    Args:
        task: says the data too.
        arms: aliases of implementations, "builtin" first.

    Returns:
        For each arm its seconds, and the ratio of its pieces to the built-in's; or why nothing was trained.
    """
    found: dict[str, Any] = {"data": task.data, "threads": torch.get_num_threads(), "arms": {}}
    try:
        data = task.load()
    except TaskError as error:
        return found | {"left_out": str(error)}
    runs = {name: Run(name, build(task, find_layer(name, task.layer), data, seed=0)) for name in arms}
    trains = {name: partial(train, task, run, task.optimizer(run.model), data) for name, run in runs.items()}
    batches = task.batches(data, seed_epoch(0, 1))
    for turn in range(PIECES):
        piece = batches[turn * len(batches) // PIECES : (turn + 1) * len(batches) // PIECES]
        for name in list(arms)[:: -1 if turn % 2 else 1]:
            runs[name].seconds.append(timed(partial(trains[name], piece), 1, "cpu"))
    base = runs["builtin"].seconds
    for name, run in runs.items():
        found["arms"][name] = {"seconds": sum(run.seconds), **ratio(run.seconds, base)._asdict()}
    return found


def train(task: Mnist, run: Run, optimizer: torch.optim.Optimizer, data: Data, batches: Sequence[Tensor]) -> None:
    for loss in task.losses(run.model, data, batches):
        step(task, optimizer, loss)
        run.losses.append(loss.item())
