"""The command line, the files and the failures that all tasks share."""

import io
import json
import runpy
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from tqdm import tqdm

from rnn_parity.tasks import TASKS, training
from rnn_parity.tasks.checkpoint import load_checkpoint
from rnn_parity.tasks.command_line import main
from rnn_parity.tasks.files import write_atomically
from rnn_parity.tasks.hello import Hello
from rnn_parity.tasks.layers import find_layer
from rnn_parity.tasks.mnist import Mnist
from rnn_parity.tasks.task import Data, Task

DIGITS = ["--data", "digits", "--epochs", "1"]


class NanRNN(nn.RNN):
    """A layer that breaks in the third step of training."""

    calls = 0

    def forward(self, *args: Any) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        self.calls += self.training
        output, h_n = super().forward(*args)
        return (output * torch.nan if self.calls == 3 else output), h_n


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(task: type[Task], out: Path, *options: str) -> None:
    main(task, [*options, "--device", "cpu", "--out", str(out)])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--implementation", "x"], "expected builtin, manual, fused or MODULE:ATTRIBUTE, came 'x'"),
        (["--implementation", "builtin", "nowhere:RNN"], "came 'nowhere:RNN': ModuleNotFoundError"),
        (["--implementation", "torch.nn:Nothing"], "came 'torch.nn:Nothing': AttributeError"),
        (["--implementation", ":"], "expected a layer that can be imported, came ':'"),
        (["--implementation", "math:pi"], "expected a layer like torch.nn.RNN, came 'math:pi': TypeError"),
        (
            ["--implementation", "torch.nn:Linear"],
            "expected a layer like torch.nn.RNN, came 'torch.nn:Linear'",
        ),
        (["--implementation"], "argument --implementation: expected at least one argument"),
        (["--epochs", "0"], "argument --epochs: expected a whole number from 1 up, came '0'"),
        (["--epochs", "-1"], "argument --epochs: expected a whole number from 1 up, came '-1'"),
        (["--epochs", "1.5"], "argument --epochs: expected a whole number from 1 up, came '1.5'"),
        (["--seed", "x"], f"argument --seed: expected a whole number from 0 to {2**64 - 1}, came 'x'"),
        (["--seed", f"{2**64}"], f"argument --seed: expected a whole number from 0 to {2**64 - 1}, came"),
        (["--threads", "0"], "argument --threads: expected a whole number from 1 to "),
        (["--device", "abacus"], "argument --device: expected a device like cpu or cuda:0, came 'abacus'"),
        (["--device", "meta"], "argument --device: expected a device like cpu or cuda:0, came 'meta'"),
        (["--device", "cuda:99"], "argument --device: expected a device like cpu or cuda:0, came 'cuda:99'"),
        (["--out", __file__], f"argument --out: expected a folder to write to, came {__file__!r}"),
    ],
)
def test_bad_input_is_a_usage_error(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(Hello, ["--out", str(tmp_path), *options])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_unknown_data_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(Mnist, ["--data", "x"])
    assert "argument --data: invalid choice: 'x'" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(Hello, ["--device", "cuda"])
    assert "expected a device like cpu or cuda:0, came 'cuda'" in capsys.readouterr().err.splitlines()[-1]


def test_plain_lines_off_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(Hello, tmp_path)
    out, err = capsys.readouterr()
    assert out.replace("\n", "").isprintable()
    assert not err
    assert sum(line.startswith("epoch ") for line in out.splitlines()) == 15


def test_progress_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(training, "tqdm", partial(tqdm, mininterval=0))
    run(Mnist, tmp_path, *DIGITS)
    assert "\repoch 1/1: " in terminal.getvalue()
    assert "loss=" in terminal.getvalue()


def test_implementations_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(Hello, tmp_path, "--implementation", "builtin", "manual", "torch.nn:GRU", "--seed", "1")
    head, *rows = [line.split() for line in capsys.readouterr().out.split("\n\n")[1].splitlines()]
    assert head == ["implementation", "final", "loss", "accuracy", "seconds"]
    assert [row[0] for row in rows] == ["builtin", "manual", "torch.nn:GRU"]
    assert [row[2] for row in rows] == ["1.0000"] * 3
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*") if file.is_file()}
    folders = ("builtin", "manual", "torch.nn.GRU")
    assert files == {"curves.png"} | {
        f"{f}/{n}" for f in folders for n in ("checkpoint.pt", "metrics.json", "model.ckpt")
    }


def test_metrics_tell_the_whole_run(tmp_path: Path) -> None:
    run(Mnist, tmp_path, *DIGITS, "--epochs", "2", "--seed", "3")
    metrics = json.loads((tmp_path / "builtin" / "metrics.json").read_text())
    settings = {"batch_size": 64, "learning_rate": 0.01, "hidden_size": 64, "data": "digits"}
    assert metrics["settings"] == settings | {
        "epochs": 2, "seed": 3, "threads": 1, "processes": 1, "device": "cpu",
    }  # fmt: skip
    assert metrics["data"].keys() == {"name", "train_examples", "test_examples", "sha256"}
    assert len(metrics["loss_per_step"]) == len(metrics["gradient_norm_per_step"]) == 2 * 23
    assert len(metrics["metric_per_epoch"]) == len(metrics["training_seconds_per_epoch"]) == 2
    assert metrics["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(("task", "options"), [(Hello(), []), (Mnist(data="digits"), DIGITS)], ids=["hello", "digits"])
def test_checkpoint_gives_the_same_metric(task: Task, options: list[str], tmp_path: Path) -> None:
    run(type(task), tmp_path, *options)
    assert task.layer is not None
    layer, data = find_layer("builtin", task.layer), task.load()
    model = load_checkpoint(tmp_path / "builtin" / "checkpoint.pt", task, layer, data)
    metrics = json.loads((tmp_path / "builtin" / "metrics.json").read_text())
    assert task.evaluate(model, data) == metrics["metric_per_epoch"][-1]
    weights = torch.load(tmp_path / "builtin" / "model.ckpt", weights_only=True)
    torch.testing.assert_close(weights, dict(model.state_dict()), rtol=0, atol=0)


def test_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    losses = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        run(Mnist, folder, *DIGITS, "--seed", "5")
        losses.append(json.loads((folder / "builtin" / "metrics.json").read_text())["loss_per_step"])
    assert losses[0] == losses[1]


class Orders(Mnist):
    """Keeps the order that the examples of each epoch are in."""

    seen: ClassVar[list[list[int]]] = []

    def batches(self, data: Data, generator: torch.Generator) -> Sequence[Tensor]:
        batches = super().batches(data, generator)
        self.seen.append(torch.cat(list(batches)).tolist())
        return batches[:1]


def test_every_epoch_of_every_seed_has_an_order_of_its_own() -> None:
    task = Orders(data="digits")
    data = task.load()
    for seed in (0, 1, 2**32, 2**64 - 1):
        training.train(task, nn.LSTM, data, epochs=3, seed=seed, report=lambda line: None)
    assert len({tuple(order) for order in task.seen}) == 4 * 3
    assert all(sorted(order) == list(range(len(data.train_input))) for order in task.seen)


def test_nan_loss_stops_with_step_and_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run(Hello, tmp_path, "--implementation", f"{__name__}:NanRNN")
    assert caught.value.code == "hello: the loss is nan at step 3, with learning rate 0.1"
    # What the two epochs before it learned is kept, and nothing that would look like a result.
    (left,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(p.isfinite().all() for p in torch.load(left, weights_only=True)["model"].values())


def test_a_file_is_whole_or_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "file", b"before")

    def fill_the_disk(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:1])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "file", b"after")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"before")]


def test_all_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_module("rnn_parity.tasks", run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == [f"rnn_parity.tasks.{name}" for name in TASKS]
    package = Path(sys.modules["rnn_parity.tasks"].__path__[0])
    assert all((package / f"{name}.py").is_file() for name in TASKS)
