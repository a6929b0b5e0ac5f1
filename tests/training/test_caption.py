"""caption writes digits' names under their images with the built-in and with the manual layer."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from rnn_parity.tasks import data as data_module
from rnn_parity.tasks.caption import SYMBOLS, Caption, named
from rnn_parity.tasks.cli import main
from rnn_parity.tasks.data import load_digits
from rnn_parity.tasks.task import Data, find_layer
from rnn_parity.tasks.train import build, train
from rnn_parity.tasks.words import WordModel, decode
from rnn_parity.tests.training.trajectory import STEPS, assert_same_trajectory

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_one_epoch_names_90_percent(device: str, mnist_data: Data) -> None:
    task = Caption()
    data = named(mnist_data).to(device)
    assert (len(data.train_input), len(data.test_input)) == (60_000, 10_000)
    run = train(task, find_layer("manual", "GRU"), data, epochs=task.epochs, seed=0)
    assert task.epochs == len(run.metrics) == 1
    assert run.metrics[0] >= 0.90
    words = decode(task.predict(run.model, data.test_input), SYMBOLS)
    right = [word == NAMES[label] for word, label in zip(words, mnist_data.test_target.tolist(), strict=True)]
    assert sum(right) / len(right) == run.metrics[0]
    written, name = task.closing(run.model, data).splitlines()
    assert name.split() == ["name", *(NAMES[int(digit)] for digit in "7210414959")]
    assert written.split()[0] == "written"


def test_digits_need_no_network(
    implementation: str,
    device: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delattr(data_module, "MNIST")
    options = ["--data", "digits", "--device", device, "--out", str(tmp_path)]
    main(Caption, ["--implementation", implementation, *options])
    first, *_, last, _, _ = capsys.readouterr().out.splitlines()
    assert "1437 training and 360 test examples" in first
    assert float(last.split()[2]) >= 0.90
    assert (tmp_path / "curves.png").is_file()


def test_same_trajectory(device: str) -> None:
    task = Caption(data="digits")
    assert_same_trajectory(task, task.load().to(device, torch.float64))


@pytest.mark.slow
def test_same_trajectory_on_mnist(mnist_data: Data, device: str) -> None:
    task = Caption()
    data = named(mnist_data)
    names = ("train_input", "train_target")
    part = replace(data, **{name: getattr(data, name)[: STEPS * task.batch_size] for name in names})
    assert_same_trajectory(task, part.to(device, torch.float64))


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_a_layer_with_another_state(implementation: str, kind: str) -> None:
    task = Caption(data="digits")
    run = train(task, find_layer(implementation, kind), task.load(), epochs=2, seed=0)
    assert sum(run.losses[-20:]) < 0.75 * sum(run.losses[:20])


def test_the_image_reaches_the_word_through_the_state_alone(implementation: str) -> None:
    task = Caption(data="digits")
    data = task.load()
    model = build(task, find_layer(implementation, "GRU"), data, seed=0)
    assert isinstance(model, WordModel)
    words = data.train_target[:1].expand(2, -1)
    assert not torch.equal(*model(data.train_input[:2], words))
    (state,) = model.encode(data.train_input[:2])
    assert state.shape == (1, 2, task.hidden_size)
    same, other = model.decoder.teach(words, torch.zeros_like(state))
    assert torch.equal(same, other)


def test_a_name_is_right_only_as_a_whole() -> None:
    task = Caption(data="digits")
    data = named(load_digits())
    model = build(task, nn.GRU, data, seed=0)
    data = replace(data, test_target=task.predict(model, data.test_input))
    assert task.evaluate(model, data) == 1.0
    data.test_target[:36, 1] += 1  # one letter in a tenth of the 360 names
    assert task.evaluate(model, data) == 0.9
