"""seq2seq spells and reads numbers with the built-in and with the manual layer."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from rnn_parity.tasks import seq2seq
from rnn_parity.tasks.command_line import main
from rnn_parity.tasks.layers import find_layer
from rnn_parity.tasks.letters import PADDING, WordModel, decode, lengths
from rnn_parity.tasks.seq2seq import CONTEXTS, DIRECTIONS, SYMBOLS, Seq2seq
from rnn_parity.tasks.spelling import spell, value
from rnn_parity.tasks.task import Data, Run
from rnn_parity.tasks.training import build, train
from rnn_parity.tests.training.trajectory import assert_same_trajectory

SMALL = Seq2seq(numbers=100, hidden_size=48, batch_size=16)
SMALL_EPOCHS = 60

directions = pytest.mark.parametrize("direction", DIRECTIONS)
contexts = pytest.mark.parametrize("context", CONTEXTS)


@cache
def trained(implementation: str, direction: str, context: str, device: str) -> tuple[Seq2seq, Data, Run]:
    task = replace(SMALL, direction=direction, context=context)
    data = task.load().to(device)
    return task, data, train(task, find_layer(implementation, task.layer), data, epochs=SMALL_EPOCHS, seed=0)


@directions
@contexts
def test_numbers_below_100(implementation: str, direction: str, context: str, device: str) -> None:
    task, data, run = trained(implementation, direction, context, device)
    assert (len(data.train_input), len(data.test_input)) == (80, 20)
    assert run.metrics[-1] >= 0.80
    right = [
        f"{source:>{max(map(len, sources))}}  {target}"
        for sources, targets in [[decode(part[:8], SYMBOLS) for part in (data.test_input, data.test_target)]]
        for source, target in zip(sources, targets, strict=True)
    ]
    for line, expected in zip(task.closing(run.model, data).splitlines(), right, strict=True):
        assert line == expected or f"  (expected {expected.split('  ')[-1]})" in line


@pytest.mark.slow
@directions
@contexts
def test_held_out_numbers_below_10000(implementation: str, direction: str, context: str, device: str) -> None:
    task = Seq2seq(direction=direction, context=context)
    data = task.load().to(device)
    assert (len(data.train_input), len(data.test_input)) == (8000, 2000)
    run = train(task, find_layer(implementation, "GRU"), data, epochs=task.epochs, seed=0)
    assert run.metrics[-1] >= 0.95


@directions
@contexts
def test_same_trajectory(direction: str, context: str, device: str) -> None:
    task = replace(SMALL, direction=direction, context=context, hidden_size=16)
    assert_same_trajectory(task, task.load().to(device, torch.float64))


@directions
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
    assert list(map(value, words[1])) == held_out
    assert len({len(number) for number in digits[1]}) > 2


def alone(model: WordModel, data: Data, inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What a model writes for each input without padding, and the logits of the right words."""
    sources = [row[row != PADDING].unsqueeze(0) for row in inputs]
    targets = data.test_target[: len(inputs)]
    logits = [model(source, target) for source, target in zip(sources, targets.split(1), strict=True)]
    return [model.write(source) for source in sources], logits


@directions
@contexts
@torch.no_grad()
def test_padding_changes_nothing(implementation: str, direction: str, context: str, device: str) -> None:
    task, data, run = trained(implementation, direction, context, device)
    model = deepcopy(run.model).double()
    assert isinstance(model, WordModel)
    inputs = data.test_input
    assert len(lengths(inputs).unique()) > 1
    written, logits = alone(model, data, inputs)
    assert decode(torch.cat(written), SYMBOLS) == task.words(model, data, len(inputs))
    for padding in (0, 5):
        padded = torch.nn.functional.pad(inputs, (0, padding), value=PADDING)
        assert torch.equal(task.predict(model, padded), torch.cat(written))
        assert_close(model(padded, data.test_target), torch.cat(logits))


@contexts
@torch.no_grad()
def test_an_encoder_that_reads_padding_is_noticed(
    implementation: str, context: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data, run = trained(implementation, "to-digits", context, "cpu")
    model = deepcopy(run.model).double()
    assert isinstance(model, WordModel)
    _, logits = alone(model, data, data.test_input)
    monkeypatch.setattr(seq2seq, "lengths", lambda letters: torch.full((len(letters),), letters.shape[1]))
    with pytest.raises(AssertionError, match="not close"):
        assert_close(model(data.test_input, data.test_target), torch.cat(logits))


def test_the_loss_of_a_batch_is_the_mean_over_its_examples(implementation: str) -> None:
    data = SMALL.load()
    model = build(SMALL, find_layer(implementation, "GRU"), data, seed=0).double()
    indices = torch.arange(30)
    whole = SMALL.loss(model, data, indices)
    each = torch.stack([SMALL.loss(model, data, index) for index in indices.split(1)])
    assert_close(whole, each.mean())


@contexts
@pytest.mark.parametrize("layer", ["RNN", "LSTM"])
def test_another_layer_learns(implementation: str, layer: str, context: str) -> None:
    task = replace(SMALL, layer=layer, context=context)
    data = task.load()
    model = build(task, find_layer(implementation, layer), data, seed=0)
    assert isinstance(model, WordModel)
    run = train(task, find_layer(implementation, layer), data, epochs=10, seed=0)
    assert run.losses[-1] < 0.5 * run.losses[0]


def test_the_picture_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Small(Seq2seq):
        numbers: int = 100

    options = ["--epochs", "1", "--direction", "to-digits", "--context", "input", "--layer", "LSTM", "--device", "cpu"]
    main(Small, [*options, "--out", str(tmp_path)])
    assert "seq2seq, data to-digits, cpu" in capsys.readouterr().out
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["--direction", "--context", "--layer"])
def test_an_unknown_choice_is_a_usage_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(Seq2seq, [option, "x"])
    assert f"argument {option}: invalid choice: 'x'" in capsys.readouterr().err.splitlines()[-1]
