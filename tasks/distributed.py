"""Several processes that train one model, each on its share of every batch (torchrun)."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from .task import Data, Task


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    Args:
        rank: of this one, from 0.
        count: how many there are.
    """

    rank: int
    count: int

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """Return the model in training mode, its gradients averaged over the processes."""
        model.train()
        return model if self.count == 1 else DistributedDataParallel(model)

    def losses(self, task: Task, model: nn.Module, data: Data, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield `task.losses` of this process's share of each batch.

        A share's loss is weighted by its size, so that the average of all gradients is that of the whole batch.
        """
        model.train()
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


ALONE = Processes(0, 1)


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torchrun started, if it did; yield them, and the device of this one.

    Args:
        device: asked for; of CUDA devices each process takes one.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
