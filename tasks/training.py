"""The training loop that every task shares."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from .task import Data, LayerFactory, Task, TaskError


@dataclass
class Run:
    """What one training did.

    Args:
        implementation: whose layer was trained.
        model: the model, trained.
        losses: of each step, before the step.
        metrics: on the test examples, after each epoch.
        seconds: spent training in each epoch.
    """

    implementation: str
    model: nn.Module
    losses: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def build(task: Task, layer: LayerFactory, data: Data, *, seed: int) -> nn.Module:
    """Return a task's model with the initial weights of a seed, on the data's device."""
    torch.manual_seed(seed)
    return task.model(layer, data).to(data.train_input.device)


def train(
    task: Task,
    layer: LayerFactory,
    data: Data,
    *,
    epochs: int,
    seed: int,
    threads: int = 1,
    implementation: str = "",
    report: Callable[[str], object] = print,
) -> Run:
    """Train a task from scratch, with a progress bar on a terminal.

    Args:
        task: the task.
        layer: builds its recurrent layer.
        data: what `task.load()` returned, on the device to train on.
        epochs: how often the training examples are seen.
        seed: of the initial weights and of the order of the examples.
        threads: CPU threads to compute with. One is nearly as fast as two at these sizes, up to a hundred
            times faster where the cores are shared, and gives the same numbers on any number of cores.
        implementation: what the layer is called in the run.
        report: takes the line of each epoch.

    Returns:
        The run, the trained model in it.

    Raises:
        TaskError: a loss is not finite; the message names the step and the learning rate.
    """
    run = Run(implementation, build(task, layer, data, seed=seed))
    optimizer = task.optimizer(run.model)
    order = torch.Generator().manual_seed(seed)
    with cpu_threads(threads):
        for epoch in range(1, epochs + 1):
            batches = task.batches(data, order)
            start = time.perf_counter()
            with tqdm(batches, desc=f"epoch {epoch}/{epochs}", unit="step", leave=False, disable=None) as bar:
                for loss in steps(task, run.model, data, optimizer, bar):
                    bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
                    run.losses.append(loss)
                    _check(loss, len(run.losses), task)
            run.seconds.append(time.perf_counter() - start)
            run.metrics.append(task.evaluate(run.model, data))
            report(_epoch_line(task, run, data, epochs, len(batches)))
    return run


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def steps(
    task: Task, model: nn.Module, data: Data, optimizer: torch.optim.Optimizer, batches: Iterable[Tensor]
) -> Iterator[float]:
    """Take one step per batch and yield its loss, the one before the step.

    Args:
        task: gives the loss.
        model: what is trained, in place.
        data: the examples.
        optimizer: of the model's parameters.
        batches: indices (batch,) of each batch's examples.

    Yields:
        The loss of each batch.
    """
    model.train()
    for indices in batches:
        optimizer.zero_grad()
        loss = task.loss(model, data, indices)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss.item()


def _check(loss: float, step: int, task: Task) -> None:
    if not math.isfinite(loss):
        raise TaskError(f"the loss is {loss} at step {step}, with learning rate {task.learning_rate}")


def _epoch_line(task: Task, run: Run, data: Data, epochs: int, steps: int) -> str:
    parts = (
        f"epoch {len(run.metrics):{len(str(epochs))}}/{epochs}",
        f"mean loss {sum(run.losses[-steps:]) / steps:.4f}",
        f"{task.metric} {run.metrics[-1]:.4f}",
        f"{run.seconds[-1]:.2f} s",
        task.note(run.model, data),
    )
    return "  ".join(part for part in parts if part)
