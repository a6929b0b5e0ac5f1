"""Built-in and manual layers, trained from the same seed in float64, measure the same at each of 50 steps.

See `trajectory.py` for how near that is.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rnn_parity.tasks.hello import Hello
from rnn_parity.tasks.mnist import Mnist
from rnn_parity.tasks.task import Data, LayerFactory, Task, find_layer
from rnn_parity.tests.training.trajectory import STEPS, assert_same_trajectory, expected, new_model, trajectory


@pytest.mark.parametrize(
    ("task", "kind"),
    [(Hello(), "RNN"), (Mnist(data="digits"), "LSTM"), (Mnist(data="digits"), "GRU")],
    ids=["hello-RNN", "digits-LSTM", "digits-GRU"],
)
def test_same_trajectory(task: Task, kind: str, device: str) -> None:
    assert_same_trajectory(task, task.load().to(device, torch.float64), kind)


@pytest.mark.slow
def test_same_trajectory_on_mnist(mnist_data: Data, device: str) -> None:
    task = Mnist()
    images, labels = (t[: STEPS * task.batch_size] for t in (mnist_data.train_input, mnist_data.train_target))
    data = replace(mnist_data, train_input=images, train_target=labels).to(device, torch.float64)
    assert_same_trajectory(task, data)


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
    assert task.layer is not None
    truth, bound = expected(task, find_layer("builtin", task.layer), data)
    error = np.abs(trajectory(task, new_model(task, defect, data), data).losses - truth.losses)
    assert (error > bound.losses)[:2].any()
