"""birnn reads digits in both directions, and what it reads out decides what the backward direction has seen."""

import pytest
import torch
from torch import Tensor

from rnn_parity.tasks.birnn import READOUTS, BidirectionalModel, Birnn
from rnn_parity.tasks.task import Data, find_layer
from rnn_parity.tasks.train import train
from rnn_parity.tests.training.trajectory import assert_same_trajectory

HIDDEN = 5


@pytest.fixture(params=READOUTS)
def readout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
def test_two_epochs_reach_95_percent(implementation: str, readout: str, device: str, mnist_data: Data) -> None:
    task = Birnn(readout=readout)
    assert len(mnist_data.test_input) == 10_000
    assert task.epochs == 2
    run = train(task, find_layer(implementation, "LSTM"), mnist_data.to(device), epochs=2, seed=0)
    assert run.metrics[-1] >= 0.95


@pytest.mark.parametrize(
    ("implementation", "readout"),
    [pytest.param("builtin", "last", marks=pytest.mark.slow), ("manual", "last"), ("manual", "final")],
)
def test_four_epochs_of_digits_reach_70_percent(implementation: str, readout: str, device: str) -> None:
    task = Birnn(data="digits", readout=readout)
    run = train(task, find_layer(implementation, "LSTM"), task.load().to(device), epochs=4, seed=0)
    assert run.metrics[-1] >= 0.7


def test_same_trajectory(readout: str, device: str) -> None:
    task = Birnn(data="digits", hidden_size=12, batch_size=10, readout=readout)
    assert_same_trajectory(task, task.load().to(device, torch.float64))


def new_model(implementation: str, readout: str, num_layers: int = 2, kind: str = "LSTM") -> BidirectionalModel:
    torch.manual_seed(0)
    return BidirectionalModel(find_layer(implementation, kind), 8, HIDDEN, num_layers, readout)


def images_alike_in_the_last_row() -> tuple[Tensor, Tensor]:
    images, others = torch.rand(2, 4, 7, 8)
    others[:, -1] = images[:, -1]
    return images, others


def moved(model: BidirectionalModel) -> list[bool]:
    """Return whether the forward and the backward half of the features move with the rows before the last."""
    images, others = images_alike_in_the_last_row()
    before, after = (model.features(each) for each in (images, others))
    return [not torch.equal(*halves) for halves in zip(before.chunk(2, 1), after.chunk(2, 1), strict=True)]


def test_in_one_layer_the_last_output_looks_back_at_one_row(implementation: str, readout: str) -> None:
    assert moved(new_model(implementation, readout, num_layers=1)) == [True, readout == "final"]


def test_in_two_layers_it_knows_the_rest_from_the_lower_forward_half(implementation: str, readout: str) -> None:
    model = new_model(implementation, readout)
    assert moved(model) == [True, True]
    with torch.no_grad():
        dict(model.recurrent.named_parameters())["weight_ih_l1_reverse"][:, :HIDDEN] = 0
    assert moved(model) == [True, readout == "final"]


def test_the_last_output_leaves_recurrent_weights_untrained(implementation: str, readout: str) -> None:
    model = new_model(implementation, readout)
    model(torch.rand(4, 7, 8)).square().sum().backward()
    weights = {name: p for name, p in model.recurrent.named_parameters() if name.startswith("weight_hh")}
    assert len(weights) == 4
    untrained = {name for name, p in weights.items() if p.grad is None or not p.grad.any()}
    assert untrained == ({"weight_hh_l1_reverse"} if readout == "last" else set())


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_final_states_are_the_outputs_at_both_ends(implementation: str, kind: str) -> None:
    model = new_model(implementation, "final", kind=kind)
    images = torch.rand(4, 7, 8)
    forward, backward = model.recurrent(images)[0].chunk(2, -1)
    torch.testing.assert_close(model.features(images), torch.cat([forward[:, -1], backward[:, 0]], -1))
