"""charlm learns to spell with the built-in and with the manual layers, and carries a state where it shall."""

from itertools import islice, pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rnn_parity.tasks.charlm import SYMBOLS, Charlm
from rnn_parity.tasks.cli import main
from rnn_parity.tasks.data import decode, letters
from rnn_parity.tasks.task import Data, TaskError, find_layer
from rnn_parity.tasks.train import build, train
from rnn_parity.tests.training.trajectory import assert_same_trajectory

RESET_BEFORE = "rnn_parity.manual.textbook:ResetBeforeGRU"


@pytest.fixture(scope="module")
def time_machine() -> Data:
    try:
        return Charlm().load()
    except TaskError as error:
        pytest.skip(f"no text here: {error}")


def small(**options: str) -> Charlm:
    """Reads the Zen of Python: minibatches of 4 windows of 10 characters."""
    return Charlm(data="zen", batch_size=4, steps=10, hidden_size=32, **options)  # type: ignore[arg-type]


def test_30_epochs_on_the_time_machine(device: str, time_machine: Data) -> None:
    task = Charlm()
    data = time_machine.to(device)
    run = train(task, find_layer("manual", "GRU"), data, epochs=30, seed=0)
    assert len(run.losses) == 30 * 8
    assert run.metrics[-1] <= 11
    assert task.closing(run.model, data).splitlines()[-1].startswith("time traveller")


@pytest.mark.slow
def test_500_epochs_on_the_time_machine(implementation: str, device: str, time_machine: Data) -> None:
    task = Charlm()
    data = time_machine.to(device)
    run = train(task, find_layer(implementation, "GRU"), data, epochs=task.epochs, seed=0)
    assert task.epochs == 500
    assert run.metrics[-1] <= 1.3
    # By then it has the text by heart.
    _, *words, _ = task.continuation(run.model, data).removeprefix("time traveller").split(" ")
    assert " ".join(words) in decode(data.train_input)


@pytest.mark.parametrize(
    ("kind", "sampling"), [("GRU", "sequential"), ("GRU", "random"), ("RNN", "sequential"), ("LSTM", "sequential")]
)
def test_same_trajectory(kind: str, sampling: str, device: str) -> None:
    task = small(layer=kind, sampling=sampling)
    assert_same_trajectory(task, task.load().to(device, torch.float64))


@pytest.mark.parametrize("seed", range(5))
def test_sequential_windows_go_on_where_the_last_ended(seed: int) -> None:
    task = small(sampling="sequential")
    data = task.load()
    batches = task.batches(data, torch.Generator().manual_seed(seed))
    assert len(batches) == (len(data.train_input) - int(batches[0][0])) // 4 // 10
    assert 0 <= batches[0][0] < 10
    for before, after in pairwise(batches):
        assert len(before) == 4
        assert torch.equal(after, before + 10)
    # Rows are cut from the text one after another: none reaches into the next.
    assert (batches[-1][:-1] + 10 <= batches[0][1:]).all()
    assert batches[-1][-1] + 10 <= len(data.train_input)


def test_random_windows_are_as_many_and_in_another_order() -> None:
    task = small(sampling="random")
    data = task.load()
    one, other = (torch.cat(list(task.batches(data, torch.Generator().manual_seed(seed)))) for seed in (0, 1))
    for starts in (one, other):
        assert len(starts.unique()) == len(starts)
        assert len(starts) % 4 == 0
        assert not torch.equal(starts, starts.sort().values)
        assert starts.max() + 10 <= len(data.train_input)
    assert not torch.equal(one[: len(other)], other[: len(one)])


@pytest.mark.parametrize("kind", ["GRU", "RNN", "LSTM"])
def test_sequential_losses_are_those_of_the_text_read_at_once(kind: str, implementation: str) -> None:
    """Without a step between, the carried state makes three windows of 10 one of 30; gradients end at each."""
    task = small(layer=kind, sampling="sequential")
    data = task.load().to("cpu", torch.float64)
    model = build(task, find_layer(implementation, kind), data, seed=0).double()
    batches = task.batches(data, torch.Generator().manual_seed(0))[:3]
    losses = list(task.losses(model, data, batches))
    at_once = Charlm(data="zen", batch_size=4, steps=30, hidden_size=32, layer=kind)
    (expected,) = at_once.losses(model, data, batches[:1])
    assert abs(sum(losses).item() / 3 - expected.item()) < 1e-12
    losses[0].backward()  # frees the first window's graph, which the second's must not need
    losses[1].backward()

    random = list(small(layer=kind, sampling="random").losses(model, data, batches))
    assert random[0] == losses[0]
    assert abs(random[1] - losses[1]) > 1e-6  # from state zero


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("sampling", ["random", "sequential"])
def test_the_state_passed_on_is_detached(kind: str, sampling: str) -> None:
    task = small(layer=kind, sampling=sampling)
    data = task.load()
    model = build(task, find_layer("builtin", kind), data, seed=0)
    states = []
    model.register_forward_pre_hook(lambda _, arguments: states.append(arguments[1]))
    batches = task.batches(data, torch.Generator().manual_seed(0))
    assert len(list(islice(task.losses(model, data, batches), 3))) == 3
    first, *others = states
    assert first is None
    if sampling == "random":
        assert others == [None, None]
        return
    for state in others:
        for tensor in state if kind == "LSTM" else [state]:
            assert tensor.shape == (1, 4, 32)
            assert tensor.count_nonzero() == tensor.numel()
            assert tensor.grad_fn is None
            assert not tensor.requires_grad


@pytest.mark.parametrize(
    ("kind", "implementation", "sampling"),
    [
        ("GRU", RESET_BEFORE, "random"),
        pytest.param("GRU", "builtin", "sequential", marks=pytest.mark.slow),
        ("RNN", "manual", "random"),
        pytest.param("LSTM", "manual", "sequential", marks=pytest.mark.slow),
    ],
    ids=["reset-before", "GRU", "RNN", "LSTM"],
)
def test_every_layer_learns_the_zen(
    kind: str, implementation: str, sampling: str, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", "zen", "--epochs", "100", "--device", device, "--out", str(tmp_path)]
    options += ["--layer", kind, "--sampling", sampling, "--prefix", "Beautiful, is"]
    main(Charlm, ["--implementation", implementation, *options])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("charlm, data zen")
    perplexity = [float(line.split("perplexity ")[1].split()[0]) for line in lines if line.startswith("epoch")]
    assert perplexity[-1] < 16.7 < 23 < perplexity[0]  # 16.7 is that of knowing no more than how often each comes
    written = next(line for line in lines if line.startswith("beautiful is"))
    assert len(written) == len("beautiful is") + 50


def test_any_file_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("To be, or not to be: that is the question. " * 12)
    main(Charlm, ["--text", str(file), "--epochs", "1", "--device", "cpu", "--out", str(tmp_path / "out")])
    assert f"data {file}, cpu, seed 0" in capsys.readouterr().out


def test_held_out_text_is_later_text(time_machine: Data) -> None:
    assert len(time_machine.train_input) == len(time_machine.test_input) == 9_999
    whole = decode(torch.cat([time_machine.train_input, time_machine.train_target[-1:]]))
    assert len(whole) == 10_000
    assert whole.startswith("the time machine by h g wells i the time traveller for so it will be convenient")
    assert whole == letters(whole)
    assert torch.equal(time_machine.train_target[:-1], time_machine.train_input[1:])
    assert decode(time_machine.test_input[:200]) not in whole


def test_perplexity_of_knowing_nothing_is_the_number_of_symbols() -> None:
    task = small()
    data = task.load()
    model = build(task, find_layer("builtin", "GRU"), data, seed=0)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    assert task.evaluate(model, data) == pytest.approx(len(SYMBOLS), rel=1e-6)


def test_continuation_is_what_reading_it_whole_says() -> None:
    """The state kept from character to character is that of the whole text so far."""
    task = small(prefix="now is")
    data = task.load()
    run = train(task, find_layer("builtin", "GRU"), data, epochs=10, seed=0, report=lambda line: None)
    text = task.continuation(run.model, data, 20)
    for end in range(len("now is"), len(text)):
        logits: Tensor = run.model(torch.tensor([[SYMBOLS.index(c) for c in text[:end]]]))[0]
        assert text[end] == SYMBOLS[logits[0, -1].argmax()]
