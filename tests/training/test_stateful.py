"""stateful predicts a cosine only with a state that is carried from window to window, and detached there."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnn_parity.tasks.cli import main
from rnn_parity.tasks.stateful import Stateful, StatefulModel
from rnn_parity.tasks.task import Data, TaskError, find_layer
from rnn_parity.tasks.train import train
from rnn_parity.tests.training.trajectory import assert_same_trajectory


def assert_learnt(task: Stateful, implementation: str, device: str) -> None:
    data = task.load().to(device)
    run = train(task, find_layer(implementation, "RNN"), data, epochs=task.epochs, seed=0)
    last_epoch = run.losses[-len(data.train_input) :]
    assert sum(last_epoch) / len(last_epoch) <= run.losses[0] / 40
    assert run.metrics[-1] <= 0.05


def test_loss_falls_by_a_factor_of_40(implementation: str, device: str) -> None:
    assert_learnt(Stateful(), implementation, device)


def test_so_it_does_with_a_variance_of_a_thousandth(device: str) -> None:
    assert_learnt(Stateful(weight_std=0.001**0.5), "builtin", device)


def test_without_a_state_the_error_stays_six_times_as_large(device: str) -> None:
    task = Stateful(state="zero")
    run = train(task, find_layer("builtin", "RNN"), task.load().to(device), epochs=2, seed=0)
    # 1 or -1 at the first of ten points, and nothing that tells which: 0 is the best answer.
    assert run.metrics[-1] >= 0.1**0.5 - 1e-3 > 6 * 0.05


def test_same_trajectory(device: str) -> None:
    task = Stateful()
    assert_same_trajectory(task, task.load().to(device, torch.float64))


def test_weights_are_drawn_with_a_standard_deviation_of_a_thousandth(implementation: str) -> None:
    torch.manual_seed(0)
    model = Stateful().model(find_layer(implementation, "RNN"), Stateful().load())
    weights = torch.cat([parameter.flatten() for parameter in model.parameters()])
    assert 0.9e-3 <= weights.std().item() <= 1.1e-3
    assert abs(weights.mean().item()) <= 1e-4


def a_few_windows(task: Stateful) -> Data:
    data = task.load().to("cpu", torch.float64)
    return replace(data, train_input=data.train_input[:4], train_target=data.train_target[:4])


def losses(task: Stateful, data: Data, implementation: str, kind: str = "RNN") -> tuple[StatefulModel, list[Tensor]]:
    """Return a model with weights of ordinary size, and its losses with no step taken between them."""
    torch.manual_seed(0)
    model = StatefulModel(find_layer(implementation, kind), hidden_size=6, weight_std=0.5).double()
    return model, list(task.losses(model, data, task.batches(data, torch.Generator())))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("state", ["carried", "zero"])
def test_a_carried_state_makes_the_windows_one_series(implementation: str, kind: str, state: str) -> None:
    task = Stateful(state=state)
    data = a_few_windows(task)
    model, by_window = losses(task, data, implementation, kind)
    errors = (model(data.train_input.reshape(1, -1, 1))[0].reshape(4, -1) - data.train_target[..., 0]).square().mean(1)
    same = torch.isclose(torch.stack(by_window), errors, rtol=1e-12).tolist()
    assert same == [True, *[state == "carried"] * 3]


@pytest.mark.parametrize("state", ["carried", "zero", "attached"])
def test_only_an_attached_state_leads_back_through_all_windows(implementation: str, state: str) -> None:
    task = Stateful(state=state)
    data = a_few_windows(task)
    data.train_input.requires_grad_()
    *_, last = losses(task, data, implementation)[1]
    (gradient,) = torch.autograd.grad(last, data.train_input)
    assert gradient.flatten(1).any(1).tolist() == [*[state == "attached"] * 3, True]


def test_an_attached_state_fails_at_the_second_backward_pass(implementation: str, device: str) -> None:
    task = Stateful(state="attached")
    data = task.load().to(device)
    model = task.model(find_layer(implementation, "RNN"), data).to(device)
    losses = task.losses(model, data, task.batches(data, torch.Generator()))
    next(losses).backward()  # type: ignore[no-untyped-call]
    with pytest.raises(TaskError, match="through the graph a second time") as caught:
        next(losses)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_attached_state_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        main(Stateful, ["--state", "attached", "--device", "cpu", "--out", str(tmp_path)])
    (line,) = str(caught.value.code).splitlines()
    assert line.startswith("stateful: cannot go back through the state of the window before: Trying to backward")
