"""Built-in and manual layers, trained from the same seed in float64, give the same loss at each of 50 steps.

How far two right layers may drift apart grows with every step, as each step builds on the rounding of those
before it. How fast depends on the task, so it is measured on the built-in: K copies of it are trained, each
from weights multiplied by 1 + u * xi, and after every backward pass each gradient g is moved by
u * max|g| * xi, with xi uniform in [-1, 1] and u the unit roundoff. The spread at a step is the largest
distance of any copy's loss from the undisturbed one at this or any earlier step, and

    |loss - loss of the built-in| <= F * (spread + u * |loss of the built-in|)

is the bound, with the judge's F and K. Over seeds 0 to 2 the spread starts between 0 and 4 u and grows, by
the 50th step, to 2 u on hello, 2e2 u on the 8 x 8 digits and 2e6 u, which is 2e-10, on MNIST.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rnn_parity.judge.tolerance import COPIES, FACTOR, unit_roundoff
from rnn_parity.tasks.hello import Hello
from rnn_parity.tasks.layers import find_layer
from rnn_parity.tasks.mnist import Mnist
from rnn_parity.tasks.task import Data, LayerFactory, Task
from rnn_parity.tasks.training import build, cpu_threads, steps

STEPS = 50
SEED = 0
U = unit_roundoff(torch.float64)

Losses = NDArray[np.float64]


def new_model(task: Task, layer: LayerFactory, data: Data) -> nn.Module:
    return build(task, layer, data, seed=SEED).double()


def losses(task: Task, model: nn.Module, data: Data) -> Losses:
    optimizer = task.optimizer(model)
    order = torch.Generator().manual_seed(SEED)

    def unending() -> Iterator[float]:
        while True:
            yield from steps(task, model, data, optimizer, task.batches(data, order))

    with cpu_threads(1):
        return np.array(list(islice(unending(), STEPS)))


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


def expected(task: Task, kind: str, data: Data) -> tuple[Losses, Losses]:
    """Return the built-in's loss at each step and how far another layer's may be from it."""
    builtin = find_layer("builtin", kind)
    truth = losses(task, new_model(task, builtin, data), data)
    copies = [losses(task, disturb(new_model(task, builtin, data), seed), data) for seed in range(1, COPIES + 1)]
    spread = np.maximum.accumulate(np.abs(np.array(copies) - truth).max(axis=0))
    return truth, FACTOR * (spread + U * np.abs(truth))


def assert_same_trajectory(task: Task, kind: str, data: Data) -> None:
    truth, bound = expected(task, kind, data)
    error = np.abs(losses(task, new_model(task, find_layer("manual", kind), data), data) - truth)
    worst = int((error / bound).argmax())
    assert (error <= bound).all(), f"step {worst + 1}: {error[worst]:.3g} apart, bound {bound[worst]:.3g}"


@pytest.mark.parametrize(
    ("task", "kind"),
    [(Hello(), "RNN"), (Mnist(data="digits"), "LSTM"), (Mnist(data="digits"), "GRU")],
    ids=["hello-RNN", "digits-LSTM", "digits-GRU"],
)
def test_same_loss_at_each_step(task: Task, kind: str, device: str) -> None:
    assert_same_trajectory(task, kind, task.load().to(device, torch.float64))


def test_same_loss_at_each_step_on_mnist(mnist_data: Data, device: str) -> None:
    task = Mnist()
    images, labels = (t[: STEPS * task.batch_size] for t in (mnist_data.train_input, mnist_data.train_target))
    data = replace(mnist_data, train_input=images, train_target=labels).to(device, torch.float64)
    assert_same_trajectory(task, "LSTM", data)


class DetachedRNN(nn.RNN):
    """Right forward, but nothing flows back from one step to the one before."""

    def forward(  # type: ignore[override]
        self, input: Tensor, hx: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        outputs = []
        for x in torch.split(input, 1, dim=1):
            output, hx = super().forward(x, None if hx is None else hx.detach())
            outputs.append(output)
        assert hx is not None
        return torch.cat(outputs, dim=1), hx


def swapped_lstm(*args: Any, **kwargs: Any) -> nn.Module:
    """Input and forget gate swapped: the same as a right layer whose weights start out swapped."""
    layer = nn.LSTM(*args, **kwargs)
    for parameter in layer.parameters():
        i, f, g, o = parameter.data.chunk(4)
        parameter.data = torch.cat([f, i, g, o])
    return layer


@pytest.mark.parametrize(
    ("task", "defect"),
    [(Hello(), DetachedRNN), (Mnist(data="digits"), swapped_lstm)],
    ids=["hello-detached", "digits-swapped"],
)
def test_wrong_layer_leaves_the_bound_within_two_steps(task: Task, defect: LayerFactory) -> None:
    data = task.load().to("cpu", torch.float64)
    truth, bound = expected(task, task.layer, data)
    error = np.abs(losses(task, new_model(task, defect, data), data) - truth)
    assert (error > bound)[:2].any()
