"""mnist reads digits row by row with the built-in and with the manual layer."""

from pathlib import Path

import pytest

from rnn_parity.tasks import data as data_module
from rnn_parity.tasks.cli import main
from rnn_parity.tasks.mnist import Mnist
from rnn_parity.tasks.task import Data, find_layer
from rnn_parity.tasks.train import load_checkpoint, train


def test_one_epoch_reaches_94_percent(implementation: str, device: str, mnist_data: Data) -> None:
    task = Mnist()
    data = mnist_data.to(device)
    assert (len(data.train_input), len(data.test_input)) == (60_000, 10_000)
    run = train(task, find_layer(implementation, "LSTM"), data, epochs=task.epochs, seed=0)
    assert task.epochs == len(run.metrics) == 1
    assert run.metrics[0] >= 0.94
    predicted, label = task.closing(run.model, data).splitlines()
    assert label.split() == ["label", *"7210414959"]
    assert len(predicted.split()) == 11


def test_digits_need_no_network(
    implementation: str,
    device: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delattr(data_module, "MNIST")
    options = ["--data", "digits", "--device", device, "--out", str(tmp_path)]
    main(Mnist, ["--implementation", implementation, *options])
    assert "1437 training and 360 test examples" in capsys.readouterr().out

    task = Mnist(data="digits")
    data = task.load().to(device)
    checkpoint = tmp_path / implementation / "checkpoint.pt"
    model = load_checkpoint(checkpoint, task, find_layer(implementation, "LSTM"), data)
    assert task.evaluate(model, data) >= 0.95
