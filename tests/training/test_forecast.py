"""forecast beats repeating the last value, on later data, with the built-in and with the manual layers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from rnn_parity.tasks.cli import main
from rnn_parity.tasks.forecast import LOADERS, Forecast
from rnn_parity.tasks.task import Run, find_layer
from rnn_parity.tasks.train import build, train
from rnn_parity.tests.training.trajectory import assert_same_trajectory

# At most this: a mean squared error 2.7, 44, 1.5 and 1.5 times smaller than that of repeating the last value.
GOALS = {("sine", 1): 0.6, ("sine", 10): 0.15, ("eeg", 1): 0.8, ("eeg", 10): 0.8}


def assert_goal(task: Forecast, implementation: str, device: str) -> None:
    data = task.load().to(device)
    run = train(task, find_layer(implementation, task.layer), data, epochs=task.epochs, seed=0)
    assert run.metrics[-1] <= GOALS[task.data, task.ahead]
    assert task.closing(run.model, data).startswith("relative RMSE by steps ahead  1: 0.")


@pytest.mark.parametrize(
    ("data", "ahead", "layer"), [("sine", 1, "GRU"), ("sine", 10, "LSTM"), ("eeg", 1, "LSTM"), ("eeg", 10, "GRU")]
)
def test_beats_the_last_value(data: str, ahead: int, layer: str, implementation: str, device: str) -> None:
    assert_goal(Forecast(data=data, ahead=ahead, layer=layer), implementation, device)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "ahead", "layer"), [("sine", 1, "LSTM"), ("sine", 10, "GRU"), ("eeg", 1, "GRU"), ("eeg", 10, "LSTM")]
)
def test_beats_the_last_value_with_the_other_layer(
    data: str, ahead: int, layer: str, implementation: str, device: str
) -> None:
    assert_goal(Forecast(data=data, ahead=ahead, layer=layer), implementation, device)


@pytest.mark.parametrize(("layer", "data", "ahead"), [("GRU", "eeg", 5), ("LSTM", "sine", 1)])
def test_same_trajectory(layer: str, data: str, ahead: int, device: str) -> None:
    task = Forecast(layer=layer, data=data, ahead=ahead, batch_size=8, history=12, hidden_size=16)
    assert_same_trajectory(task, task.load().to(device, torch.float64))


@pytest.mark.parametrize("data", LOADERS)
@pytest.mark.parametrize("ahead", [1, 10, 50])
def test_only_what_lies_behind_is_learned_from(data: str, ahead: int) -> None:
    task = Forecast(data=data, ahead=ahead)
    series = LOADERS[data]()
    end = len(series) * 3 // 4
    scaled = torch.from_numpy((series - series[:end].mean()) / series[:end].std(ddof=1)).float()
    parts = task.load()
    # Each window is followed by its target, from the first to the last of its part of the series.
    assert_windows(scaled[:end], parts.train_input, parts.train_target)
    assert_windows(scaled[end - 32 :], parts.test_input, parts.test_target)
    assert parts.test_target[0, 0] == scaled[end]


def assert_windows(series: Tensor, windows: Tensor, targets: Tensor) -> None:
    ahead = targets.shape[1]
    assert len(windows) == len(targets) == len(series) - 32 - ahead + 1
    for k in (0, 1, len(windows) - 1):
        torch.testing.assert_close(torch.cat([windows[k], targets[k]]), series[k : k + 32 + ahead])


class Repeats(nn.Module):
    """Foresees the last value, and so much more."""

    def __init__(self, more: float) -> None:
        super().__init__()
        self.more = more

    def forward(self, windows: Tensor) -> Tensor:
        return windows[:, -1:] + self.more


@pytest.mark.parametrize("ahead", [1, 10])
def test_metric_is_relative_to_the_last_value(ahead: int) -> None:
    task = Forecast(ahead=ahead)
    data = task.load()
    assert task.evaluate(Repeats(0.0), data) == 1.0
    last = (data.test_input[:, -1:] - data.test_target).double().numpy()
    expected = np.sqrt(((last + 1) ** 2).mean() / (last**2).mean())
    assert task.evaluate(Repeats(1.0), data) == pytest.approx(expected, rel=1e-6)


def test_sine_and_noise_are_what_they_are_said_to_be() -> None:
    sine = LOADERS["sine"]()
    noise = sine - np.sin(2 * np.pi * np.arange(1000) / 25)
    assert len(sine) == 1000
    assert abs(noise.std() - 0.1) < 4 * 0.1 / np.sqrt(2 * 1000)  # four standard errors
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 4 / np.sqrt(1000)
    assert np.array_equal(sine, LOADERS["sine"]())


def test_eeg_is_that_of_matplotlib() -> None:
    eeg = LOADERS["eeg"]()
    assert eeg.shape == (800,)
    assert abs(eeg.std() - 1) < 0.01  # its file holds four series of deviation 1 side by side


@pytest.mark.parametrize(("ahead", "drawn"), [(1, 120), (7, 126), (50, 150)])
def test_picture_shows_every_forecast_where_it_belongs(ahead: int, drawn: int) -> None:
    task = Forecast(ahead=ahead)
    data = task.load()
    model = build(task, nn.GRU, data, seed=0)
    axes = Figure().subplots()
    task.illustrate(axes, [Run("one", model), Run("other", model)], data)
    held_out, last, one, _ = axes.lines
    assert [line.get_label() for line in axes.lines] == ["held out", "last value", "one", "other"]
    truth = np.asarray(held_out.get_ydata())
    assert len(truth) == drawn
    series = torch.cat([data.test_target[:, 0], data.test_target[-1, 1:]])  # all that was held out
    np.testing.assert_array_equal(truth, series[:drawn])
    for line, values in (
        (last, data.test_input[:, -1:].expand(-1, ahead)),
        (one, task.predict(model, data.test_input)),
    ):
        step, value = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        for k, v in zip(step, value, strict=True):
            if not np.isnan(k):
                start = int(k) // ahead * ahead
                assert v == pytest.approx(float(values[start, int(k) - start]), rel=1e-5)
        assert np.isnan(value).sum() == (drawn // ahead if ahead > 1 else 0)


def test_two_implementations_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data", "eeg", "--ahead", "10", "--layer", "LSTM", "--epochs", "1", "--device", "cpu"]
    main(Forecast, ["--implementation", "builtin", "manual", *options, "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert "forecast, data eeg, cpu, seed 0: 559 training and 191 test examples" in out
    assert out.count("relative RMSE by steps ahead  1: ") == 2
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
