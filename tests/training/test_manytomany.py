"""manytomany answers without an error in every shape, to inputs that it was not trained on where there are any."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnn_parity.tasks.manytomany import SHAPES, ManyToMany
from rnn_parity.tasks.task import find_layer
from rnn_parity.tasks.train import train
from rnn_parity.tests.training.trajectory import assert_same_trajectory

ANSWERS = {
    "n-to-1": lambda given: [max(given)],
    "1-to-n-first": lambda given: [(given[0] + k) % 10 for k in range(8)],
    "1-to-n-every": lambda given: [given[0] * k % 10 for k in range(1, 9)],
    "n-to-n": lambda given: [sum(given[: k + 1]) % 2 for k in range(10)],
    "n-to-m": lambda given: given[:5:-1],
}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_answers_are_right(implementation: str, shape: str, device: str) -> None:
    task = ManyToMany(shape=shape)
    data = task.load().to(device)
    run = train(task, find_layer(implementation, "GRU"), data, epochs=task.epochs, seed=0)
    assert run.metrics[-1] == 1.0
    examples = [line.split(" -> ") for line in task.closing(run.model, data).splitlines()]
    assert len(examples) == 3
    for given, answer in examples:
        assert [int(c) for c in answer.split()] == ANSWERS[shape]([int(c) for c in given.split()])


def test_a_wrong_answer_is_shown_with_the_right_one(shape: str) -> None:
    task = ManyToMany(shape=shape)
    data = task.load()
    model = task.model(nn.GRU, data)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)  # the answer is the first symbol, whatever comes in
    nonzero = data.test_target.any(1).nonzero().flatten()
    data.test_input[:3], data.test_target[:3] = data.test_input[nonzero[-3:]], data.test_target[nonzero[-3:]]
    lines = task.closing(model, data).splitlines()
    right = [" ".join(map(str, target)) for target in data.test_target[:3].tolist()]
    assert [line.split(" -> ")[1] for line in lines] == [
        f"{' '.join(['0'] * data.test_target.shape[1])}, but {each} is right" for each in right
    ]


def test_data(shape: str) -> None:
    data = ManyToMany(shape=shape).load()
    of_training, of_test = ({tuple(x) for x in t.tolist()} for t in (data.train_input, data.test_input))
    assert len(of_test) == len(data.test_input)
    if shape.startswith("1-to-n"):
        assert of_training == of_test == {(digit,) for digit in range(10)}
    else:
        assert not of_training & of_test
        assert len(of_test) == (len(of_training) + len(of_test)) // 5 >= 200
    for inputs, targets in ((data.train_input, data.train_target), (data.test_input, data.test_target)):
        assert targets.tolist() == [ANSWERS[shape](given) for given in inputs.tolist()]


def test_same_trajectory(shape: str, device: str) -> None:
    task = ManyToMany(shape=shape, hidden_size=16)
    assert_same_trajectory(task, task.load().to(device, torch.float64))


def recorded(shape: str) -> tuple[Tensor, list[tuple[Tensor, ...]], list[Tensor], Tensor]:
    """Return inputs, what each layer was called with, the state that each left, and the logits."""
    calls: list[tuple[Tensor, ...]] = []
    states: list[Tensor] = []

    class Recorder(nn.GRU):
        def forward(self, *args: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            calls.append(args)
            output, h_n = super().forward(*args)
            states.append(h_n)
            return output, h_n

    task = ManyToMany(shape=shape)
    data = task.load()
    inputs = data.test_input[:4]
    return inputs, calls, states, task.model(Recorder, data)(inputs)


@pytest.mark.parametrize(("shape", "steps"), [("1-to-n-first", [True, *[False] * 7]), ("1-to-n-every", [True] * 8)])
def test_one_to_n_gives_its_input_at_the_steps_it_says(shape: str, steps: list[bool]) -> None:
    _, [(x,)], _, logits = recorded(shape)
    assert logits.shape == (4, 8, 10)
    assert x.any(-1).all(0).tolist() == x.any(-1).any(0).tolist() == steps
    assert x[:, 0].unique(dim=0).shape[0] == 4
    if all(steps):
        assert (x == x[:, :1]).all()


@pytest.mark.parametrize(("shape", "answered"), [("n-to-1", 1), ("n-to-n", 10)])
def test_n_to_one_and_n_to_n_read_the_whole_input(shape: str, answered: int) -> None:
    inputs, [(x,)], _, logits = recorded(shape)
    assert x.shape[:2] == inputs.shape
    assert logits.shape[:2] == (4, answered)


def test_n_to_m_decodes_from_the_encoders_state() -> None:
    inputs, [encoder, decoder], states, logits = recorded("n-to-m")
    (read,), (blank, h_0) = encoder, decoder
    assert read.shape[:2] == inputs.shape == (4, 10)
    assert blank.shape[:2] == logits.shape[:2] == (4, 4)
    assert not blank.any()
    assert h_0 is states[0]
