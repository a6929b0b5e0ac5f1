"""The training that every task shares: the loop, checkpoints to go on from, and several processes at one model."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from .report import state_on_cpu, write_atomically
from .task import Data, LayerFactory, Run, Task, TaskError

MEASURED = ("losses", "gradient_norms", "metrics", "seconds")


@dataclass(frozen=True)
class Processes:
    """The processes that train one model together, each on its share of every batch, seen from one of them.

    Args:
        rank: of this one, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return the model, its gradients averaged over the processes."""
        return model if self.count == 1 else DistributedDataParallel(model)

    def losses(self, task: Task, model: nn.Module, data: Data, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield `task.losses` of this process's share of each batch.

        A share's loss is weighted by its size, so that the average of all gradients is that of the whole batch.
        """
        if self.count == 1:
            yield from task.losses(model, data, batches)
            return
        for indices in batches:
            share = indices[self.rank :: self.count]
            # A process without a share takes part all the same: the others wait for its gradients.
            weight = len(share) * self.count / len(indices)
            yield task.loss(model, data, share if len(share) else indices[:1]) * weight

    def total(self, loss: float) -> float:
        """Return the whole batch's loss."""
        if self.count == 1:
            return loss
        mean = torch.tensor(loss, dtype=torch.float64) / self.count
        if distributed.get_backend() == "nccl":
            mean = mean.cuda()
        distributed.all_reduce(mean)
        return mean.item()


ALONE = Processes()


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
            batches = task.batches(data, seed_epoch(seed, epoch))
            start = time.perf_counter()
            model.train()
            with progress_bar(f"epoch {epoch}/{epochs}", len(batches), processes) as bar:
                for loss in processes.losses(task, model, data, batches):  # the forward pass of each batch
                    gradient_norm = step(task, optimizer, loss)
                    run.losses.append(processes.total(loss.item()))
                    run.gradient_norms.append(gradient_norm)
                    check(task, run)
                    bar.set_postfix(loss=f"{run.losses[-1]:.4f}", refresh=False)
                    bar.update()
            run.seconds.append(time.perf_counter() - start)
            run.metrics.append(task.evaluate(run.model, data))
            if processes.first and checkpoint is not None:
                save(checkpoint, task, data, seed, run, optimizer)
            report(epoch_line(task, run, data, epochs))
    return run


def build(task: Task, layer: LayerFactory, data: Data, *, seed: int) -> nn.Module:
    """Return a task's model with the initial weights of a seed, on the data's device."""
    torch.manual_seed(seed)
    return task.model(layer, data).to(data.train_input.device)


def step(task: Task, optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    """Take one step down the gradient of a loss, and return the gradient's norm before it is clipped."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], task.clip)
    optimizer.step()
    return norm.item()


def check(task: Task, run: Run) -> None:
    """Raise TaskError if the last loss is no number."""
    if not math.isfinite(loss := run.losses[-1]):
        raise TaskError(f"the loss is {loss} at step {len(run.losses)}, with learning rate {task.learning_rate}")


def seed_epoch(seed: int, epoch: int) -> torch.Generator:
    """Seed what an epoch draws, so that it can begin without those before it; return the generator of its order.

    The seed has 32 bits, all that PyTorch's generator on the CPU takes in: of larger ones it ignores the rest.
    """
    drawn = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch.manual_seed(drawn)  # of dropout
    return torch.Generator().manual_seed(drawn)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Compute with so many CPU threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def progress_bar(title: str, steps: int, processes: Processes) -> Any:
    """Return a bar that only a terminal shows, and of several processes the first."""
    disable = None if processes.first else True
    return tqdm(total=steps, desc=title, unit="step", leave=False, disable=disable)


def epoch_line(task: Task, run: Run, data: Data, epochs: int) -> str:
    """Return what is printed after an epoch."""
    steps = len(run.losses) // len(run.metrics)
    parts = (
        f"epoch {len(run.metrics):{len(str(epochs))}}/{epochs}",
        f"mean loss {sum(run.losses[-steps:]) / steps:.4f}",
        f"{task.metric} {run.metrics[-1]:.4f}",
        f"{run.seconds[-1]:.2f} s",
        task.note(run.model, data),
    )
    return "  ".join(part for part in parts if part)


def save(path: Path, task: Task, data: Data, seed: int, run: Run, optimizer: torch.optim.Optimizer) -> None:
    """Write all that a training needs to go on, the model's `state_dict` under the key "model"."""
    content = {"model": state_on_cpu(run.model), "optimizer": optimizer.state_dict()}
    content |= {name: getattr(run, name) for name in MEASURED}
    buffer = BytesIO()
    torch.save(content | {"settings": _settings(task, data, seed, run)}, buffer)
    write_atomically(path, buffer.getvalue())


def restore(path: Path, task: Task, data: Data, seed: int, run: Run, optimizer: torch.optim.Optimizer) -> None:
    """Bring a new run and its optimizer to where `save` left them.

    Raises:
        TaskError: the file is damaged, or of a run with other settings.
    """
    content = _read(path)
    for name, value in _settings(task, data, seed, run).items():
        if (found := content["settings"].get(name)) != value:
            raise TaskError(f"--resume: expected {name} {found!r} as in {path}, came {value!r}")
    run.model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    for name in MEASURED:
        setattr(run, name, content[name])


def load_checkpoint(path: Path, task: Task, layer: LayerFactory, data: Data) -> nn.Module:
    """Return a trained model from its checkpoint; `task.evaluate(model, data)` measures it again.

    Args:
        path: what a training left.
        task: the task that was trained.
        layer: builds the recurrent layer: the one trained, or any with the same parameter names.
        data: the task's data, on the device where the model shall be.

    Returns:
        The model, on the data's device.

    Raises:
        TaskError: the file is damaged.
    """
    model = task.model(layer, data).to(data.train_input.device)
    model.load_state_dict(_read(path)["model"])
    return model


def _settings(task: Task, data: Data, seed: int, run: Run) -> dict[str, Any]:
    return asdict(task) | {"implementation": run.implementation, "seed": seed, "sha256 of the data": data.sha256}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"model", "optimizer", "settings", *MEASURED} - content.keys()
    except Exception as error:  # of a damaged file, unpickling says many things
        raise TaskError(f"cannot read the checkpoint {path}: {' '.join(str(error).split())}") from error
    if missing:
        raise TaskError(f"expected a checkpoint of a task, came {path} without {', '.join(sorted(missing))}")
    return content


def own_device(device: torch.device) -> torch.device:
    """Return the device of this process: of CUDA devices each of the processes that torchrun started takes one.

    It is asked for before anything touches a device, for what is once begun on the first stays there.
    """
    if device.type == "cuda" and _processes() > 1:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, if it did; yield them, and the device of this one.

    Args:
        device: asked for; of CUDA devices each process takes one.
    """
    if _processes() == 1:
        yield ALONE, device
        return
    device = own_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
