"""Tell handwritten digits apart by reading their images' rows in both directions with two layers of LSTM.

What the readout gets of them is `--readout`, and it matters to the backward direction, which reads an image from
its last row up:

last    The top layer's output at the last row. The backward half has taken its first step there: of what the lower
        layer says, it has seen the last row's alone. It has no state yet to go on from, so the backward direction's
        hidden-to-hidden weights of the top layer get no gradient and stay what they were drawn as.
final   The top layer's final states, h_n: the forward direction's at the last row and the backward direction's at
        the first, each after all rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from .cli import main
from .data import CLASSES, ImageTask
from .task import Count, Data, LayerFactory, Positive, State, hidden


def last_output(output: Tensor, state: State) -> Tensor:
    """Return the top layer's output at the last step, (batch, 2 * hidden)."""
    return output[:, -1]


def final_states(output: Tensor, state: State) -> Tensor:
    """Return the top layer's final states of both directions, (batch, 2 * hidden)."""
    h_n = hidden(state)
    return torch.cat([h_n[-2], h_n[-1]], dim=-1)


READOUTS: dict[str, Callable[[Tensor, State], Tensor]] = {"last": last_output, "final": final_states}


class BidirectionalModel(nn.Module):
    """Bidirectional recurrent layers over an image's rows and one readout of both directions.

    Args:
        layer: builds the recurrent layers.
        row_size: pixels in a row.
        hidden_size: features of each direction.
        num_layers: layers on top of each other.
        readout: what of the top layer is read, a key of `READOUTS`.
    """

    def __init__(self, layer: LayerFactory, row_size: int, hidden_size: int, num_layers: int, readout: str) -> None:
        super().__init__()
        self.recurrent = layer(row_size, hidden_size, num_layers, batch_first=True, bidirectional=True)
        self.readout = nn.Linear(2 * hidden_size, CLASSES)
        self._select = READOUTS[readout]

    def features(self, images: Tensor) -> Tensor:
        """Return what the readout gets of images (batch, rows, pixels): (batch, 2 * hidden), forward half first."""
        return self._select(*self.recurrent(images))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (batch, 10) of images (batch, rows, pixels)."""
        logits: Tensor = self.readout(self.features(images))
        return logits


@dataclass(frozen=True, kw_only=True)
class Birnn(ImageTask):
    """Image rows in, read in both directions; digit out.

    Args:
        batch_size: images in one step.
        learning_rate: of Adam.
        hidden_size: features of each direction.
        num_layers: layers on top of each other.
        readout: what it gets: "last", the output at the last step, or "final", both directions' final states.
        data: mnist (60,000 and 10,000 images, 28 x 28, fetched once) or digits (1,437 and 360, 8 x 8, no network).
    """

    name: ClassVar[str] = "birnn"
    layer: ClassVar[str] = "LSTM"
    epochs_on: ClassVar[Mapping[str, int]] = {"mnist": 2, "digits": 20}

    batch_size: Count = 100
    learning_rate: Positive = 0.003
    hidden_size: Count = 128
    num_layers: Count = 2
    readout: Literal["last", "final"] = "last"

    @property
    def title(self) -> str:
        """What the models learn."""
        read = "the last row's output" if self.readout == "last" else "both final states"
        return f"{self.num_layers} layers of LSTM tell digits apart, reading them in both directions; readout of {read}"

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around one stack of bidirectional recurrent layers."""
        row_size = data.train_input.shape[-1]
        return BidirectionalModel(layer, row_size, self.hidden_size, self.num_layers, self.readout)


if __name__ == "__main__":
    main(Birnn)
