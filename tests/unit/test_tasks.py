"""The command line, the files and the failures that all tasks share."""

import io
import json
import runpy
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from tqdm import tqdm

from rnn_parity.tasks import TASKS, train
from rnn_parity.tasks.birnn import Birnn
from rnn_parity.tasks.caption import Caption
from rnn_parity.tasks.charlm import Charlm
from rnn_parity.tasks.cli import main
from rnn_parity.tasks.forecast import Forecast
from rnn_parity.tasks.gallery import task_type
from rnn_parity.tasks.hello import Hello
from rnn_parity.tasks.manytomany import ManyToMany
from rnn_parity.tasks.mlp import Mlp
from rnn_parity.tasks.mnist import Mnist
from rnn_parity.tasks.report import centred_mean, write_atomically
from rnn_parity.tasks.seq2seq import Seq2seq
from rnn_parity.tasks.stateful import Stateful
from rnn_parity.tasks.task import Data, Task, find_layer
from rnn_parity.tasks.train import load_checkpoint

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


SEED = f"expected a whole number from 0 to {2**64 - 1}"
LAYER = "--implementation: expected a layer like torch.nn.RNN"


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (Hello, "--implementation x", "expected builtin, manual, fused or MODULE:ATTRIBUTE, came 'x'"),
        (Hello, "--implementation builtin nowhere:RNN", f"{LAYER}, came 'nowhere:RNN': ModuleNotFoundError"),
        (Hello, "--implementation torch.nn:Nothing", f"{LAYER}, came 'torch.nn:Nothing': AttributeError"),
        (Hello, "--implementation :", f"{LAYER}, came ':'"),
        (Hello, "--implementation math:pi", f"{LAYER}, came 'math:pi': TypeError"),
        (Hello, "--implementation torch.nn:Linear", f"{LAYER}, came 'torch.nn:Linear'"),
        (Hello, "--implementation", ("--implementation", "at least 1 element")),
        (Hello, "--epochs 0", "--epochs: expected a whole number from 1 up, came '0'"),
        (Hello, "--epochs -1", "--epochs: expected a whole number from 1 up, came '-1'"),
        (Hello, "--hidden-size 1.5", "--hidden-size: expected a whole number from 1 up, came '1.5'"),
        (Hello, "--learning-rate nan", "--learning-rate: expected a number above 0, came 'nan'"),
        (Hello, "--learning-rate x", "--learning-rate: expected a number above 0, came 'x'"),
        (Hello, "--batch-size 2", ("Unknown option", "--batch-size")),
        (Hello, "--seed x", f"--seed: {SEED}, came 'x'"),
        (Hello, f"--seed {2**64}", f"--seed: {SEED}, came '{2**64}'"),
        (Hello, "--threads 0", "--threads: expected a whole number from 1 to "),
        (Hello, "--device abacus", "expected a device like cpu or cuda:0, came 'abacus'"),
        (Hello, "--device meta", "expected a device like cpu or cuda:0, came 'meta'"),
        (Hello, "--device cuda:99", "expected a device like cpu or cuda:0, came 'cuda:99'"),
        (Hello, f"--out {__file__}", f"--out: expected a folder to write to, came {__file__!r}"),
        (Mlp, "--implementation manual", ("Unknown option", "--implementation")),
        (Mnist, "--data x", ("--data", '"x"', "mnist", "digits")),
        (Birnn, "--readout x", ("--readout", '"x"', "last", "final")),
        (Caption, "--data x", ("--data", '"x"')),
        (Charlm, "--layer CNN", ("--layer", '"CNN"')),
        (Charlm, "--sampling x", ("--sampling", '"x"')),
        (Charlm, "--text no-file", "expected a file, came 'no-file'"),
        (Charlm, f"--data zen --text {__file__}", "Mutually exclusive"),
        (Charlm, "--prefix 42!", "expected at least one letter a to z, came '42!'"),
        (Charlm, "--prefix=", "expected at least one letter a to z, came ''"),
        (Forecast, "--layer RNN", ("--layer", '"RNN"')),
        (Forecast, "--ahead 51", "--ahead: expected a whole number from 1 to 50, came '51'"),
        (ManyToMany, "--shape x", ("--shape", '"x"')),
        (Seq2seq, "--direction x", ("--direction", '"x"')),
        (Seq2seq, "--context x", ("--context", '"x"')),
        (Stateful, "--state x", ("--state", '"x"')),
    ],
)
def test_bad_input_is_a_usage_error_of_one_line(
    task: type[Task],
    options: str,
    message: str | tuple[str, ...],  # parts of what is cyclopts' to word
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(task, ["--out", str(tmp_path), *options.split()])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rnn_parity.tasks.{task.name}: ")
    assert all(said in line for said in ((message,) if isinstance(message, str) else message))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TASKS)
def test_sizes_and_rates_are_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(task_type(name), ["--help"])
    text = capsys.readouterr().out
    for option in ("--hidden-size", "--learning-rate", "--epochs", "--seed", "--device", "--threads", "--resume"):
        assert option in text
    assert ("--batch-size" in text) == (name not in ("hello", "stateful"))


def test_an_option_reaches_the_model(tmp_path: Path) -> None:
    run(Mnist, tmp_path, *DIGITS, "--hidden-size", "5", "--num-layers", "2", "--batch-size", "500")
    weights = torch.load(tmp_path / "builtin" / "model.ckpt", weights_only=True)
    assert weights["recurrent.weight_hh_l1"].shape == (20, 5)
    metrics = json.loads((tmp_path / "builtin" / "metrics.json").read_text())
    assert len(metrics["loss_per_step"]) == 3


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
    monkeypatch.setattr(train, "tqdm", partial(tqdm, mininterval=0))
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
    settings = {"batch_size": 64, "learning_rate": 0.01, "hidden_size": 64, "num_layers": 1, "data": "digits"}
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
        train.train(task, nn.LSTM, data, epochs=3, seed=seed, report=lambda line: None)
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


def test_the_data_is_hashed_once_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums: list[str] = []
    compute = Data.sha256.func
    counted = cached_property(lambda data: sums.append(compute(data)) or sums[-1])
    counted.__set_name__(Data, "sha256")
    monkeypatch.setattr(Data, "sha256", counted)
    run(Hello, tmp_path, "--implementation", "builtin", "manual")
    assert len(sums) == 1


def test_a_missing_extra_is_named_with_the_command() -> None:
    hide = "import sys; sys.modules['pooch'] = None; sys.argv = ['-m']; import importlib.util as u; f = u.find_spec; "
    hide += "u.find_spec = lambda n, *a: None if n == 'pooch' else f(n, *a); "
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}import rnn_parity.tasks"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "the tasks need pooch: pip install 'rnn-parity[tasks]'\n"


def test_a_mean_does_not_lag() -> None:
    line = np.arange(100.0)
    np.testing.assert_allclose(centred_mean(list(line), 5)[:-5], line[:-5])
    np.testing.assert_allclose(centred_mean([1.0, 5.0, 3.0], 1), [1.0, 3.0, 4.0])
