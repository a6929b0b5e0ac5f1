"""The training loop that every task shares."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from .checkpoint import restore, save
from .distributed import ALONE, Processes
from .task import Data, LayerFactory, Run, Task, TaskError


class Step(NamedTuple):
    """What one step measured before it was taken: the loss, and the norm of all gradients."""

    loss: float
    gradient_norm: float


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
    checkpoint: Path | None = None,
    resume: bool = False,
    processes: Processes = ALONE,
) -> Run:
    """Train a task, with a progress bar on a terminal.

    Args:
        task: the task.
        layer: builds its recurrent layers.
        data: what `task.load()` returned, on the device to train on.
        epochs: how often the training examples are seen, those of the resumed run among them.
        seed: of the initial weights and of the order of the examples.
        threads: CPU threads to compute with. One is nearly as fast as two at these sizes, up to a hundred
            times faster where the cores are shared, and gives the same numbers on any number of cores.
        implementation: what the layer is called in the run.
        report: takes the line of each epoch.
        checkpoint: the file that each epoch leaves all in that is needed to go on.
        resume: go on from that file, where there is one.
        processes: those that share every batch.

    Returns:
        The run, the trained model in it.

    Raises:
        TaskError: a loss is not finite, and the message names the step and the learning rate; or the
            checkpoint is of another run.
    """
    run = Run(implementation, build(task, layer, data, seed=seed))
    optimizer = task.optimizer(run.model)
    if resume and checkpoint is not None and checkpoint.is_file():
        restore(checkpoint, task, data, seed, run, optimizer)
        report(f"resumed after epoch {len(run.metrics)}")
    with cpu_threads(threads):
        model = processes.parallel(run.model)
        for epoch in range(len(run.metrics) + 1, epochs + 1):
            _train_epoch(task, run, model, data, optimizer, processes, f"epoch {epoch}/{epochs}", _seed(seed, epoch))
            if processes.first and checkpoint is not None:
                save(checkpoint, task, data, seed, run, optimizer)
            report(_epoch_line(task, run, data, epochs))
    return run


def _seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch, so that one can begin without those before it.

    It has 32 bits, all that PyTorch's generator on the CPU takes in: of larger ones it ignores the rest.
    """
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def _train_epoch(
    task: Task,
    run: Run,
    model: nn.Module,
    data: Data,
    optimizer: torch.optim.Optimizer,
    processes: Processes,
    title: str,
    seed: int,
) -> None:
    torch.manual_seed(seed)  # of dropout
    batches = task.batches(data, torch.Generator().manual_seed(seed))
    last = f"{run.metrics[-1]:.4f}" if run.metrics else "none yet"
    start = time.perf_counter()
    with tqdm(
        total=len(batches), desc=title, unit="step", leave=False, disable=None if processes.first else True
    ) as bar:
        for step in steps(task, optimizer, processes.losses(task, model, data, batches)):
            loss = processes.total(step.loss)
            run.losses.append(loss)
            run.gradient_norms.append(step.gradient_norm)
            _check(loss, len(run.losses), task)
            bar.set_postfix({"loss": f"{loss:.4f}", task.metric: last}, refresh=False)
            bar.update()
    run.seconds.append(time.perf_counter() - start)
    run.metrics.append(task.evaluate(run.model, data))


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def steps(task: Task, optimizer: torch.optim.Optimizer, losses: Iterator[Tensor]) -> Iterator[Step]:
    """Take one step for each loss.

    Args:
        task: says what the gradients are clipped to.
        optimizer: of the model's parameters.
        losses: scalars, each computed when it is asked for (`task.losses`).

    Yields:
        What was measured before the step.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_grad_norm_(parameters, math.inf if task.clip is None else task.clip)
        optimizer.step()
        yield Step(loss.item(), norm.item())


def _check(loss: float, step: int, task: Task) -> None:
    if not math.isfinite(loss):
        raise TaskError(f"the loss is {loss} at step {step}, with learning rate {task.learning_rate}")


def _epoch_line(task: Task, run: Run, data: Data, epochs: int) -> str:
    steps = len(run.losses) // len(run.metrics)
    parts = (
        f"epoch {len(run.metrics):{len(str(epochs))}}/{epochs}",
        f"mean loss {sum(run.losses[-steps:]) / steps:.4f}",
        f"{task.metric} {run.metrics[-1]:.4f}",
        f"{run.seconds[-1]:.2f} s",
        task.note(run.model, data),
    )
    return "  ".join(part for part in parts if part)
