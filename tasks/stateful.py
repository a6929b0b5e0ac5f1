"""Predict a cosine from a sine, window by window, with an RNN that carries its state from one to the next.

Where a window begins, the sine is 0 and the cosine may be 1 or -1: only the state from the window before tells which.
The state is detached there, so that a step's backward pass ends where its window begins. `--state` says otherwise:

carried   The state's values go on, its graph does not.
zero      Each window begins with no state. Its first point can then be answered by 0 at best, which leaves a mean
          squared error of at least 0.1 over windows of 10 points, an RMSE of 0.316.
attached  The graph goes on as well. The second window's backward pass would run through the first window's graph,
          which the first backward pass has freed, so that PyTorch refuses it.

All parameters are drawn from N(0, 0.001), where 0.001 is the standard deviation, which is what
`torch.nn.init.normal_` takes.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from cyclopts import Parameter
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional

from .cli import main
from .report import style
from .task import Count, Data, LayerFactory, Positive, Run, State, Task, TaskError, detached

WINDOW = 10  # points, half a wave
TRAINING, TEST = 100, 20  # windows
SHOWN = 6  # windows in the picture


class StatefulModel(nn.Module):
    """Recurrent layer and readout of every step, from any state on.

    Args:
        layer: builds the recurrent layer.
        hidden_size: features of the recurrent layer.
        weight_std: standard deviation that all parameters are drawn with.
    """

    def __init__(self, layer: LayerFactory, hidden_size: int, weight_std: float) -> None:
        super().__init__()
        self.recurrent = layer(1, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, 1)
        for parameter in self.parameters():
            nn.init.normal_(parameter, mean=0.0, std=weight_std)

    def forward(self, points: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the predictions (batch, seq_len, 1) for points (batch, seq_len, 1), and the state after them."""
        output, state = self.recurrent(points, state)
        return self.readout(output), state


@dataclass(frozen=True, kw_only=True)
class Stateful(Task):
    """Consecutive windows of a sine in, of the cosine out.

    Args:
        learning_rate: of Adam.
        hidden_size: features of the recurrent layer.
        weight_std: standard deviation that all parameters are drawn with.
        state: what a window begins with: the last one's state, none, or the last one's with its graph, which fails.
    """

    name: ClassVar[str] = "stateful"
    layer: ClassVar[str] = "RNN"
    epochs: ClassVar[int] = 6
    metric: ClassVar[str] = "RMSE"
    loss_name: ClassVar[str] = "mean squared error"

    batch_size: Annotated[int, Parameter(parse=False)] = 1  # each window needs the state of the one before
    learning_rate: Positive = 0.01
    hidden_size: Count = 32
    weight_std: Positive = 0.001
    state: Literal["carried", "zero", "attached"] = "carried"

    @property
    def title(self) -> str:
        """What the models learn."""
        return f"An RNN follows a cosine from the sine, window by window, its state {self.state}"

    def load(self) -> Data:
        """Return windows (windows, points, 1) of the sine as input and of the cosine as target.

        The test windows follow the training windows.
        """
        angle = torch.arange((TRAINING + TEST) * WINDOW, dtype=torch.float64) * (math.pi / WINDOW)
        parts = [torch.split(curve.reshape(-1, WINDOW, 1), [TRAINING, TEST]) for curve in (angle.sin(), angle.cos())]
        (train_input, test_input), (train_target, test_target) = parts
        return Data("sine", train_input, train_target, test_input, test_target)

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around one recurrent layer."""
        return StatefulModel(layer, self.hidden_size, self.weight_std)

    def batches(self, data: Data, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the training windows in the order of time, one in a batch."""
        return torch.split(torch.arange(len(data.train_input), device=data.train_input.device), 1)

    def losses(self, model: nn.Module, data: Data, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield each window's loss, and hold the state that the next one begins with.

        Raises:
            TaskError: the state is attached, and the windows before were stepped on.
        """
        state = None
        for indices in batches:
            predictions, state = model(data.train_input[indices], state)
            loss = functional.mse_loss(predictions, data.train_target[indices])
            if self.state == "attached":
                _check_graph(loss, model)
            else:
                state = detached(state) if self.state == "carried" else None
            yield loss

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the predictions for consecutive windows (windows, points, 1), the first one begun with no state."""
        model.eval()
        series = inputs if self.state == "zero" else inputs.flatten(0, 1)[None]
        predictions: Tensor = model(series)[0]
        return predictions.reshape(inputs.shape)

    def answers(self, model: nn.Module, data: Data) -> Tensor:
        """Return the predictions for the test windows, read on from the training windows."""
        predictions = self.predict(model, torch.cat([data.train_input, data.test_input]))
        return predictions[len(data.train_input) :]

    def evaluate(self, model: nn.Module, data: Data) -> float:
        """Return the root of the mean squared error on the test windows."""
        return functional.mse_loss(self.answers(model, data), data.test_target).sqrt().item()

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Draw the first test windows: the cosine, and over it what each model predicts."""
        first = len(data.train_input)
        window = first + torch.arange(SHOWN * WINDOW) / WINDOW
        truth = data.test_target[:SHOWN].flatten().cpu()
        axes.plot(window, truth, color="0.85", linewidth=10, label="cosine")
        for place, run in enumerate(runs):
            predictions = self.answers(run.model, data)[:SHOWN].flatten().cpu()
            axes.plot(window, predictions, **style(place), marker=".", label=run.implementation)
        axes.set_xticks(range(first, first + SHOWN + 1))
        axes.set(xlabel="window (after those trained on)", ylabel="prediction", ylim=(-1.6, 1.6))
        axes.grid(alpha=0.3, axis="x")
        axes.legend(ncols=len(runs) + 1, loc="upper center")


def _check_graph(loss: Tensor, model: nn.Module) -> None:
    """Try the backward pass, so that what PyTorch says of it is reported in one line."""
    try:
        torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    except RuntimeError as error:
        reason = str(error).split(". ")[0]
        raise TaskError(f"cannot go back through the state of the window before: {reason}") from error


if __name__ == "__main__":
    main(Stateful)
