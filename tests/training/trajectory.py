"""Whether two layers, trained from the same seed in float64, measure the same at each of 50 steps.

How far two right layers may drift apart grows with every step, as each step builds on the rounding of those
before it. How fast depends on the task, so it is measured on the built-in: K copies of it are trained, each
from weights multiplied by 1 + u * xi, and after every backward pass each gradient g is moved by
u * max|g| * xi, with xi uniform in [-1, 1] and u the unit roundoff. The spread at a step is the largest
distance of any copy's loss from the undisturbed one at this or any earlier step, and

    |loss - loss of the built-in| <= F * (spread + u * |loss of the built-in|)

is the bound, with the judge's F and K. The gradients' norms, and the metric after the last step, are held to
theirs alike. Over seeds 0 to 2 the spread of the loss starts between 0 and 4 u and grows, by the 50th step, to
2 u on hello, 2e2 u on the 8 x 8 digits and 2e6 u, which is 2e-10, on MNIST.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnn_parity.judge.core.bounds import COPIES, FACTOR, unit_roundoff
from rnn_parity.tasks.task import Data, LayerFactory, Task, find_layer
from rnn_parity.tasks.train import build, cpu_threads, step

STEPS = 50
SEED = 0
U = unit_roundoff(torch.float64)

Values = NDArray[np.float64]


class Trajectory(NamedTuple):
    """What a training measured: at each step the loss and the gradients' norm, and at the end the metric."""

    losses: Values
    gradient_norms: Values
    metric: Values


def new_model(task: Task, layer: LayerFactory, data: Data) -> nn.Module:
    return build(task, layer, data, seed=SEED).double()


def trajectory(task: Task, model: nn.Module, data: Data) -> Trajectory:
    optimizer = task.optimizer(model)
    order = torch.Generator().manual_seed(SEED)

    def unending() -> Iterator[tuple[float, float]]:
        while True:
            model.train()
            for loss in task.losses(model, data, task.batches(data, order)):
                yield loss.item(), step(task, optimizer, loss)

    with cpu_threads(1):
        torch.manual_seed(SEED)
        losses, norms = np.array(list(islice(unending(), STEPS))).T
        return Trajectory(losses, norms, np.array([task.evaluate(model, data)]))


def disturb(model: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)

    def noise(like: Tensor) -> Tensor:
        xi = torch.rand(like.shape, generator=generator, dtype=like.dtype) * 2 - 1
        return U * xi.to(like.device)

    def disturb_gradient(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad += parameter.grad.abs().max() * noise(parameter)

    for parameter in model.parameters():
        parameter.data += parameter.data * noise(parameter)
        parameter.register_post_accumulate_grad_hook(disturb_gradient)  # type: ignore[no-untyped-call]
    return model


def expected(task: Task, layer: LayerFactory, data: Data) -> tuple[Trajectory, Trajectory]:
    """Return the trajectory of a layer that is right, and how far another layer's may be from it."""
    truth = trajectory(task, new_model(task, layer, data), data)
    copies = [trajectory(task, disturb(new_model(task, layer, data), seed), data) for seed in range(1, COPIES + 1)]
    bounds = []
    for values, of_copies in zip(truth, zip(*copies, strict=True), strict=True):
        spread = np.maximum.accumulate(np.abs(np.array(of_copies) - values).max(axis=0))
        bounds.append(FACTOR * (spread + U * np.abs(values)))
    return truth, Trajectory(*bounds)


def assert_same_trajectory(task: Task, data: Data, kind: str | None = None, implementation: str = "manual") -> None:
    """Hold an implementation's trajectory to the built-in's.

    Args:
        task: what is trained.
        data: what it is trained on, in float64; a small part of it, where the steps shall be quick.
        kind: the class in `torch.nn`; the task's own where none is given.
        implementation: as on the command line.
    """
    kind = kind or task.layer
    assert kind is not None
    truth, bound = expected(task, find_layer("builtin", kind), data)
    found = trajectory(task, new_model(task, find_layer(implementation, kind), data), data)
    for name in Trajectory._fields:
        error, limit = np.abs(getattr(found, name) - getattr(truth, name)), getattr(bound, name)
        worst = int((error - limit).argmax())
        assert (error <= limit).all(), f"{name}[{worst}]: {error[worst]:.3g} apart, bound {limit[worst]:.3g}"
