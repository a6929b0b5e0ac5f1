"""A training that was stopped, or killed, goes on to the numbers of one that was not."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from rnn_parity.tasks import train
from rnn_parity.tasks.cli import main
from rnn_parity.tasks.hello import Hello
from rnn_parity.tasks.mnist import Mnist
from rnn_parity.tasks.task import Run

OPTIONS = ("--data", "digits", "--epochs", "4", "--seed", "2", "--device", "cpu")
SECONDS = "training_seconds_per_epoch"


def measured(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "builtin" / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name != SECONDS}


def epochs_in(folder: Path) -> int:
    checkpoint = folder / "builtin" / "checkpoint.pt"
    return len(torch.load(checkpoint, weights_only=True)["metrics"]) if checkpoint.is_file() else 0


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    main(Mnist, [*OPTIONS, "--out", str(folder)])
    return folder


def assert_same(folder: Path, unbroken: Path) -> None:
    assert measured(folder) == measured(unbroken)
    one, other = (torch.load(f / "builtin" / "model.ckpt", weights_only=True) for f in (folder, unbroken))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_fewer_epochs_first(tmp_path: Path, unbroken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(Mnist, [*OPTIONS, "--epochs", "1", "--out", str(tmp_path)])
    main(Mnist, [*OPTIONS, "--resume", "--out", str(tmp_path)])
    assert "\nresumed after epoch 1\nepoch 2/4 " in capsys.readouterr().out
    assert_same(tmp_path, unbroken)


def test_interrupted_in_an_epoch(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(task: object, run: Run) -> None:
        if len(run.losses) == 60:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train, "check", check)
        with pytest.raises(SystemExit) as caught:
            main(Mnist, [*OPTIONS, "--out", str(tmp_path)])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "mnist: interrupted; --resume goes on after the last epoch that ended\n"
    assert epochs_in(tmp_path) == 2
    main(Mnist, [*OPTIONS, "--resume", "--out", str(tmp_path)])
    assert_same(tmp_path, unbroken)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed(tmp_path: Path, unbroken: Path) -> None:
    command = [sys.executable, "-m", "rnn_parity.tasks.mnist", *OPTIONS, "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while epochs_in(tmp_path) < 1 and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert epochs_in(tmp_path) >= 1
    main(Mnist, [*OPTIONS, "--resume", "--out", str(tmp_path)])
    assert_same(tmp_path, unbroken)


def test_one_that_ended_is_read_again(tmp_path: Path) -> None:
    main(Hello, ["--device", "cpu", "--out", str(tmp_path)])
    before = measured(tmp_path)
    main(Hello, ["--device", "cpu", "--resume", "--out", str(tmp_path)])
    assert measured(tmp_path) == before


def test_nothing_to_resume_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(Hello, ["--device", "cpu", "--resume", "--out", str(tmp_path)])
    assert "resumed" not in capsys.readouterr().out
    assert epochs_in(tmp_path) == Hello.epochs


def test_without_resume_it_begins_anew(tmp_path: Path) -> None:
    for _ in range(2):
        main(Hello, ["--device", "cpu", "--epochs", "2", "--out", str(tmp_path)])
        assert epochs_in(tmp_path) == 2


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    main(Hello, ["--device", "cpu", "--epochs", "1", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main(Hello, ["--device", "cpu", "--seed", "1", "--resume", "--out", str(tmp_path)])
    file = tmp_path / "builtin" / "checkpoint.pt"
    assert caught.value.code == f"hello: --resume: expected seed 0 as in {file}, came 1"
    assert epochs_in(tmp_path) == 1


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None], ids=["empty", "text", "of weights"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes | None) -> None:
    main(Hello, ["--device", "cpu", "--epochs", "1", "--out", str(tmp_path)])
    file = tmp_path / "builtin" / "checkpoint.pt"
    file.write_bytes((tmp_path / "builtin" / "model.ckpt").read_bytes() if content is None else content)
    with pytest.raises(SystemExit) as caught:
        main(Hello, ["--device", "cpu", "--resume", "--out", str(tmp_path)])
    assert str(file) in str(caught.value.code)
    assert len(str(caught.value.code).splitlines()) == 1
