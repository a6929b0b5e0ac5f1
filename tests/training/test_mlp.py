"""mlp, the baseline without a recurrent layer, reads digits from all pixels at once."""

from pathlib import Path

import pytest
import torch

from rnn_parity.tasks.cli import main
from rnn_parity.tasks.mlp import Mlp
from rnn_parity.tasks.task import Data
from rnn_parity.tasks.train import train


def accuracies(device: str, data: Data, epochs: int) -> list[float]:
    run = train(Mlp(), torch.nn.Identity, data.to(device), epochs=epochs, seed=0)
    assert len(run.metrics) == epochs
    return run.metrics


def test_one_epoch_reaches_95_percent(device: str, mnist_data: Data) -> None:
    assert accuracies(device, mnist_data, 1)[-1] >= 0.95


@pytest.mark.slow
def test_five_epochs_reach_97_and_a_half_percent(device: str, mnist_data: Data) -> None:
    assert len(mnist_data.test_input) == 10_000
    assert Mlp().epochs == 5
    assert accuracies(device, mnist_data, 5)[-1] >= 0.975


def test_digits_leave_plain_weights(device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(Mlp, ["--data", "digits", "--device", device, "--out", str(tmp_path)])
    assert "\nbaseline " in capsys.readouterr().out

    task = Mlp(data="digits")
    data = task.load().to(device)
    model = task.model(torch.nn.Identity, data).to(device)
    weights = torch.load(tmp_path / "baseline" / "model.ckpt", weights_only=True)
    assert [tuple(w.shape) for w in weights.values()] == [(500, 64), (500,), (10, 500), (10,)]
    model.load_state_dict(weights)
    assert task.evaluate(model, data) >= 0.95
