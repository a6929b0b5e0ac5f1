"""Write the English name under the image of a digit, letter by letter with a GRU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from matplotlib.axes import Axes
from torch import Tensor, nn

from .command_line import main
from .images import ImageTask
from .letters import SIGNS, Decoder, WordModel, WordTask, decode, encode
from .results import show_images
from .spelling import UNITS
from .task import Data, LayerFactory, Run

NAMES = UNITS[:10]
SYMBOLS = SIGNS + "".join(sorted(set("".join(NAMES))))
SHOWN = 10


class CaptionModel(WordModel):
    """Linear encoder of an image, in front of a recurrent decoder that it gives the first state.

    Args:
        layer: builds the recurrent layer.
        pixels: of an image.
        letters: number of codes.
        embedding_size: features of an embedded letter.
        hidden_size: features of the recurrent layer.
        longest: the most letters the decoder writes.

    Source: https://arxiv.org/abs/1411.4555, whose image is the first input instead
    """

    def __init__(
        self, layer: LayerFactory, pixels: int, letters: int, embedding_size: int, hidden_size: int, longest: int
    ) -> None:
        super().__init__(Decoder(layer, letters, embedding_size, hidden_size), longest)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden_size), nn.Tanh())

    def encode(self, inputs: Tensor) -> tuple[Any, ...]:
        """Return the decoder's first state, made from images (batch, rows, pixels)."""
        return (self.decoder.state_from(self.encoder(inputs).unsqueeze(0)),)


@dataclass(frozen=True, kw_only=True)
class Caption(WordTask, ImageTask):
    """Image in, the digit's name out.

    Args:
        batch_size: images in one step.
        learning_rate: of Adam.
        embedding_size: features of an embedded letter.
        hidden_size: features of the recurrent layer.
        data: as for any task on images.
    """

    name: ClassVar[str] = "caption"
    layer: ClassVar[str] = "GRU"
    epochs_on: ClassVar[Mapping[str, int]] = {"mnist": 1, "digits": 30}

    batch_size: int = 64
    learning_rate: float = 0.002
    embedding_size: int = 16
    hidden_size: int = 64

    def load(self) -> Data:
        """Return the images, pixels from 0 to 1, and their digits' names.

        Raises:
            TaskError: MNIST cannot be had, or is damaged.
        """
        return named(super().load())

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around one recurrent layer."""
        pixels, longest = data.train_input[0].numel(), data.train_target.shape[1]
        return CaptionModel(layer, pixels, len(data.symbols), self.embedding_size, self.hidden_size, longest)

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return the names of the first ten test images beside the right ones."""
        names = decode(data.test_target[:SHOWN], data.symbols)
        written = self.words(model, data, SHOWN)
        width = data.test_target.shape[1]
        lines = (("written", written), ("name", names))
        return "\n".join(f"{head:8}{' '.join(word.ljust(width) for word in words)}".rstrip() for head, words in lines)

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Show the first ten test images over the names that each model writes."""
        answers = zip(*(self.words(run.model, data, SHOWN) for run in runs), strict=True)
        show_images(axes, data.test_input[:SHOWN], ["\n".join(each) for each in answers])
        axes.set_xlabel("named by " + " and ".join(run.implementation for run in runs))


def named(data: Data) -> Data:
    """Return images of digits with the digits' names in place of the digits."""
    names = encode(NAMES, SYMBOLS)
    return replace(data, train_target=names[data.train_target], test_target=names[data.test_target], symbols=SYMBOLS)


if __name__ == "__main__":
    main(Caption)
