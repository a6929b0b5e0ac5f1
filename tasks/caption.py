"""Write the English name under the image of a digit, letter by letter with a GRU."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor, nn

from .cli import main
from .data import ImageTask
from .task import Count, Data, LayerFactory, Positive
from .words import SIGNS, UNITS, Decoder, WordModel, WordTask, decode, encode

NAMES = UNITS[:10]
SYMBOLS = SIGNS + "".join(sorted(set("".join(NAMES))))


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
        data: mnist (60,000 and 10,000 images, 28 x 28, fetched once) or digits (1,437 and 360, 8 x 8, no network).
    """

    name: ClassVar[str] = "caption"
    layer: ClassVar[str] = "GRU"
    title: ClassVar[str] = "A GRU writes the name of a digit under its image, letter by letter"
    epochs_on: ClassVar[Mapping[str, int]] = {"mnist": 1, "digits": 30}

    batch_size: Count = 64
    learning_rate: Positive = 0.002
    embedding_size: Count = 16
    hidden_size: Count = 64

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

    def answers(self, model: nn.Module, data: Data, count: int | None = None) -> tuple[list[str], list[str]]:
        """Return the names that the model writes of the first test images, and the right ones; all by default."""
        return self.words(model, data, count), decode(data.test_target[:count], data.symbols)

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return the names of the first ten test images beside the right ones."""
        written, names = self.answers(model, data, 10)
        width = data.test_target.shape[1]
        lines = (("written", written), ("name", names))
        return "\n".join(f"{head:8}{' '.join(word.ljust(width) for word in words)}".rstrip() for head, words in lines)


def named(data: Data) -> Data:
    """Return images of digits with the digits' names in place of the digits."""
    names = encode(NAMES, SYMBOLS)
    return replace(data, train_target=names[data.train_target], test_target=names[data.test_target], symbols=SYMBOLS)


if __name__ == "__main__":
    main(Caption)
