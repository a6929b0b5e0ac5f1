"""seq2seq spells and reads numbers with the built-in and with the manual layer."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from rnn_parity.tasks import seq2seq
from rnn_parity.tasks.cli import main
from rnn_parity.tasks.seq2seq import KEEP, SHOWN, SYMBOLS, Seq2seq, start_by_keeping
from rnn_parity.tasks.task import Data, Run, find_layer
from rnn_parity.tasks.train import build, train
from rnn_parity.tasks.words import PADDING, WordModel, decode, lengths, spell
from rnn_parity.tests.training.trajectory import assert_same_trajectory

CONTEXTS, DIRECTIONS, LAYERS = ("state", "input"), ("to-words", "to-digits"), ("RNN", "GRU", "LSTM")
SMALL = Seq2seq(numbers=1000, hidden_size=96, batch_size=32, learning_rate=0.01)
SMALL_EPOCHS = 15
FEW_EPOCHS = 5  # until the words written are of several kinds

# Each direction and each context once: what they share is not worth the time of all four.
both = pytest.mark.parametrize(("direction", "context"), [("to-words", "state"), ("to-digits", "input")])


@cache
@torch.enable_grad()
def trained(implementation: str, direction: str, context: str, device: str, epochs: int) -> tuple[Seq2seq, Data, Run]:
    task = replace(SMALL, direction=direction, context=context)
    data = task.load().to(device)
    return task, data, train(task, find_layer(implementation, task.layer), data, epochs=epochs, seed=0)


@both
def test_numbers_below_1000(implementation: str, direction: str, context: str, device: str) -> None:
    task, data, run = trained(implementation, direction, context, device, SMALL_EPOCHS)
    assert (len(data.train_input), len(data.test_input)) == (800, 200)
    assert run.metrics[-1] >= 0.80
    sources, targets = (decode(part[:SHOWN], SYMBOLS) for part in (data.test_input, data.test_target))
    for line, source, target in zip(task.closing(run.model, data).splitlines(), sources, targets, strict=True):
        answer, *correction = line.strip().removeprefix(f"{source}  ").split("  ")
        assert correction == ([] if answer == target else [f"(expected {target})"])


@pytest.mark.slow
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_held_out_numbers_below_10000(implementation: str, direction: str, context: str, device: str) -> None:
    task = Seq2seq(direction=direction, context=context)
    data = task.load().to(device)
    assert (len(data.train_input), len(data.test_input)) == (8000, 2000)
    run = train(task, find_layer(implementation, "GRU"), data, epochs=task.epochs, seed=0)
    assert run.metrics[-1] >= 0.95


@both
def test_same_trajectory(direction: str, context: str, device: str) -> None:
    task = replace(SMALL, direction=direction, context=context, numbers=100, hidden_size=16, batch_size=16)
    assert_same_trajectory(task, task.load().to(device, torch.float64))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_no_number_is_both_learned_and_held_out(direction: str) -> None:
    data = Seq2seq(direction=direction).load()
    sides = [
        [decode(part, SYMBOLS) for part in (data.train_input, data.test_input)],
        [decode(part, SYMBOLS) for part in (data.train_target, data.test_target)],
    ]
    digits, words = sides if direction == "to-words" else sides[::-1]
    learned, held_out = (list(map(int, part)) for part in digits)
    assert sorted(learned + held_out) == list(range(10_000))
    assert [list(map(spell, part)) for part in (learned, held_out)] == words
    assert len({len(number) for number in digits[1]}) > 2


def few(data: Data) -> Data:
    """Ten of the numbers held out, of all lengths, each padded as far as the longest."""
    chosen = lengths(data.test_input).argsort()[:: len(data.test_input) // 10]
    return replace(data, test_input=data.test_input[chosen], test_target=data.test_target[chosen])


def one_by_one(model: WordModel, data: Data) -> tuple[Tensor, Tensor]:
    """What a model writes for each input without its padding, and its logits of the right words."""
    sources = [row[row != PADDING].unsqueeze(0) for row in data.test_input]
    logits = [model(source, target) for source, target in zip(sources, data.test_target.split(1), strict=True)]
    return torch.cat([model.write(source) for source in sources]), torch.cat(logits)


@both
@torch.no_grad()
def test_padding_changes_nothing(implementation: str, direction: str, context: str, device: str) -> None:
    task, data, run = trained(implementation, direction, context, device, FEW_EPOCHS)
    model, data = deepcopy(run.model).double(), few(data)
    assert isinstance(model, WordModel)
    assert len(lengths(data.test_input).unique()) > 1
    written, logits = one_by_one(model, data)
    assert len(set(decode(written, SYMBOLS))) > 5
    for more in (0, 5):
        padded = functional.pad(data.test_input, (0, more), value=PADDING)
        assert torch.equal(task.predict(model, padded), written)
        assert_close(model(padded, data.test_target), logits)


@both
@torch.no_grad()
def test_an_encoder_that_reads_padding_is_noticed(
    implementation: str, direction: str, context: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data, run = trained(implementation, direction, context, "cpu", FEW_EPOCHS)
    model, data = deepcopy(run.model).double(), few(data)
    assert isinstance(model, WordModel)
    _, logits = one_by_one(model, data)
    monkeypatch.setattr(seq2seq, "lengths", lambda letters: torch.full((len(letters),), letters.shape[1]))
    with pytest.raises(AssertionError, match="not close"):
        assert_close(model(data.test_input, data.test_target), logits)


@pytest.mark.parametrize("kind", LAYERS)
def test_only_the_gate_that_keeps_the_state_starts_elsewhere(implementation: str, kind: str) -> None:
    layer = find_layer(implementation, kind)(3, 4, batch_first=True)
    before = deepcopy(layer.state_dict())
    start_by_keeping(layer, 4)
    kept = before["bias_hh_l0"].clone()
    if kind != "RNN":
        kept.view(-1, 4)[1] = KEEP
    assert_close(dict(layer.state_dict()), {**before, "bias_hh_l0": kept}, rtol=0, atol=0)


def test_the_loss_of_a_batch_is_the_mean_over_its_examples(implementation: str) -> None:
    data = SMALL.load()
    model = build(SMALL, find_layer(implementation, "GRU"), data, seed=0).double()
    indices = torch.arange(30)
    whole = SMALL.loss(model, data, indices)
    each = torch.stack([SMALL.loss(model, data, index) for index in indices.split(1)])
    assert_close(whole, each.mean())


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("layer", ["RNN", "LSTM"])
def test_another_layer_learns(implementation: str, layer: str, context: str) -> None:
    task = replace(SMALL, layer=layer, context=context, numbers=100)
    data = task.load()
    run = train(task, find_layer(implementation, layer), data, epochs=10, seed=0)
    assert run.losses[-1] < 0.5 * run.losses[0]


def test_the_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--epochs", "1", "--direction", "to-digits", "--context", "input", "--layer", "LSTM", "--device", "cpu"]
    main(Seq2seq, ["--numbers", "100", *options, "--out", str(tmp_path)])
    assert "seq2seq, data to-digits, cpu" in capsys.readouterr().out
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
