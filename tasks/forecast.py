"""Foresee a series, one step or many ahead, from its last 32 values with a GRU or an LSTM."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from .cli import main
from .report import style
from .task import Count, Data, LayerFactory, Positive, Run, Task, whole

DRAWN = 120  # of the values held out
MOST_AHEAD = 50


def load_sine() -> NDArray[np.float64]:
    """Return 1,000 values of a sine of period 25 and amplitude 1 under normal noise of deviation 0.1."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=1000)
    wave: NDArray[np.float64] = np.sin(2 * np.pi * np.arange(1000) / 25) + noise
    return wave


def load_eeg() -> NDArray[np.float64]:
    """Return ten seconds of an electroencephalogram, 80 values a second, of its electrode PG3.

    It comes with Matplotlib, as one of four electrodes.

    Source: https://matplotlib.org/stable/gallery/specialty_plots/mri_with_eeg.html
    """
    electrodes: NDArray[np.float64] = np.fromfile(get_sample_data("eeg.dat", asfileobj=False)).reshape(800, 4)
    return electrodes[:, 0]


SERIES = {"sine": "a noisy sine", "eeg": "an electroencephalogram"}
LOADERS: dict[str, Callable[[], NDArray[np.float64]]] = {"sine": load_sine, "eeg": load_eeg}


class ForecastModel(nn.Module):
    """Recurrent layer over a window and readout of its last step, as changes of the last value.

    Args:
        layer: builds the recurrent layer.
        hidden_size: features of the recurrent layer.
        num_layers: layers on top of each other.
        ahead: steps that are foreseen, all at once.
    """

    def __init__(self, layer: LayerFactory, hidden_size: int, num_layers: int, ahead: int) -> None:
        super().__init__()
        self.recurrent = layer(1, hidden_size, num_layers, batch_first=True)
        self.readout = nn.Linear(hidden_size, ahead)

    def forward(self, windows: Tensor) -> Tensor:
        """Return the next values (batch, ahead) of windows (batch, seq_len)."""
        output, _ = self.recurrent(windows.unsqueeze(-1))
        change: Tensor = self.readout(output[:, -1])
        return windows[:, -1:] + change


@dataclass(frozen=True, kw_only=True)
class Forecast(Task):
    """Past values in, the next ones out.

    Args:
        batch_size: windows in one step.
        learning_rate: of Adam.
        hidden_size: features of the recurrent layer.
        num_layers: layers on top of each other.
        history: values of a window.
        layer: the class in `torch.nn` whose place an implementation takes: "GRU" or "LSTM".
        ahead: steps that are foreseen, all at once: no prediction is fed back.
        data: "sine" (with noise) or "eeg" (brain waves, with Matplotlib).
    """

    name: ClassVar[str] = "forecast"
    metric: ClassVar[str] = "relative RMSE"
    loss_name: ClassVar[str] = "mean squared error"
    epochs: ClassVar[int] = 20
    mean_of_examples: ClassVar[bool] = True

    batch_size: Count = 32
    learning_rate: Positive = 0.005
    hidden_size: Count = 32
    num_layers: Count = 1
    history: Annotated[int, whole(1, 500)] = 32
    layer: Literal["GRU", "LSTM"] = "GRU"
    ahead: Annotated[int, whole(1, MOST_AHEAD)] = 1
    data: Literal["sine", "eeg"] = "sine"

    @property
    def title(self) -> str:
        """What the models learn."""
        steps = f"{self.ahead} steps ahead" if self.ahead > 1 else "one step ahead"
        return f"A {self.layer} foresees {SERIES[self.data]} {steps} (relative RMSE 1: no better than the last value)"

    def load(self) -> Data:
        """Return all windows and what follows each; what follows lies in the last quarter of the series to test.

        The series is scaled to mean 0 and deviation 1 of its first three quarters.
        """
        series = torch.from_numpy(LOADERS[self.data]().copy())
        end = len(series) * 3 // 4
        series = ((series - series[:end].mean()) / series[:end].std()).float()
        parts = [self._windows(part) for part in (series[:end], series[end - self.history :])]
        return Data(self.data, *parts[0], *parts[1])

    def _windows(self, series: Tensor) -> tuple[Tensor, Tensor]:
        """Return all windows (count, history) of a series, and what follows (count, ahead)."""
        both = series.unfold(0, self.history + self.ahead, 1)
        return both[:, : self.history].contiguous(), both[:, self.history :].contiguous()

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around one stack of recurrent layers."""
        return ForecastModel(layer, self.hidden_size, self.num_layers, self.ahead)

    def loss(self, model: nn.Module, data: Data, indices: Tensor) -> Tensor:
        """Return the mean squared error of one batch."""
        return functional.mse_loss(model(data.train_input[indices]), data.train_target[indices])

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the next values (windows, ahead) of windows (windows, history)."""
        model.eval()
        prediction: Tensor = model(inputs)
        return prediction

    def evaluate(self, model: nn.Module, data: Data) -> float:
        """Return the root mean squared error over that of repeating the last value, on what was held out."""
        return _relative(*self._errors(model, data))

    def _errors(self, model: nn.Module, data: Data) -> tuple[Tensor, Tensor]:
        """Return the errors (windows, ahead) of the model, and those of repeating the last value."""
        return self.predict(model, data.test_input) - data.test_target, data.test_input[:, -1:] - data.test_target

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return the metric of some of the steps ahead."""
        model_errors, last_errors = self._errors(model, data)
        steps = sorted({1, 2, 5, 10, 20, self.ahead} & set(range(1, self.ahead + 1)))
        each = (f"{k}: {_relative(model_errors[:, k - 1], last_errors[:, k - 1]):.4f}" for k in steps)
        return f"{self.metric} by steps ahead  {'  '.join(each)}"

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Draw values held out, and what each model foresees of them: forecasts end to end, each from what is past."""
        starts = torch.arange(0, min(DRAWN, len(data.test_input)), self.ahead)
        last = data.test_input[starts, -1:].expand(-1, self.ahead)
        truth = data.test_target[starts].flatten().cpu()
        axes.plot(truth, color="black", marker=".", linestyle="", markersize=4, label="held out")
        axes.plot(*_lines(last), color="0.6", linewidth=1, label="last value")
        for place, run in enumerate(runs):
            forecast = _lines(self.predict(run.model, data.test_input[starts]))
            axes.plot(*forecast, **style(place), label=run.implementation, zorder=1.5 + place)
        axes.set(xlabel=f"step held out, foreseen {self.ahead} at a time", ylabel=f"{data.name} (deviations)")
        axes.grid(alpha=0.3)
        axes.margins(y=0.2)  # for the legend
        axes.legend(ncols=4, loc="upper center", fontsize=8)


def _relative(errors: Tensor, others: Tensor) -> float:
    """Return the root mean square of errors, over that of others."""
    return (errors.double().square().mean() / others.double().square().mean()).sqrt().item()


def _lines(forecasts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the steps and values of forecasts (count, ahead) end to end, with a gap after each of several steps."""
    gap = (0, int(forecasts.shape[1] > 1))
    steps = torch.arange(forecasts.numel(), dtype=torch.float64).view(forecasts.shape)
    both = (functional.pad(part.double().cpu(), gap, value=torch.nan).flatten() for part in (steps, forecasts))
    return next(both), next(both)


if __name__ == "__main__":
    main(Forecast)
