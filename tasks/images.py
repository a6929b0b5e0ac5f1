"""What the tasks that tell handwritten digits apart share: the images, and how their answers are shown."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.axes import Axes
from torch import nn

from .data import load_digits, load_mnist
from .results import show_images
from .task import Data, Run, Task

CLASSES = 10
LOADERS = {"mnist": load_mnist, "digits": load_digits}


@dataclass(frozen=True, kw_only=True)
class ImageTask(Task):
    """An image of a digit in, the digit out.

    Args:
        batch_size: images in one step.
        learning_rate: of Adam.
        data: "mnist" (60,000 and 10,000 images, 28 x 28) or "digits" (1,437 and 360 images, 8 x 8).
    """

    epochs_on: ClassVar[Mapping[str, int]]
    """How often the training images of each data are seen where nobody says."""
    mean_of_examples: ClassVar[bool] = True

    data: str = "mnist"

    @property
    def epochs(self) -> int:
        """How often the training images are seen where nobody says."""
        return self.epochs_on[self.data]

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add `--data`."""
        help = "images to learn: mnist (28 x 28, fetched once), digits (8 x 8, no network); default mnist"
        parser.add_argument("--data", choices=list(LOADERS), default=cls.data, help=help)

    def load(self) -> Data:
        """Return the images (examples, rows, pixels), pixels from 0 to 1, and their digits (examples).

        Raises:
            TaskError: MNIST cannot be had, or is damaged.
        """
        return LOADERS[self.data]()

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return the first ten predictions beside their labels."""
        labels = data.test_target[:10].tolist()
        return f"predicted {' '.join(map(str, self.first_ten(model, data)))}\nlabel     {' '.join(map(str, labels))}"

    def first_ten(self, model: nn.Module, data: Data) -> list[int]:
        """Return the predicted digits of the first ten test images."""
        predictions: list[int] = self.predict(model, data.test_input[:10]).tolist()
        return predictions

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Show the first ten test images over the digits that each model takes them for."""
        answers = zip(*(self.first_ten(run.model, data) for run in runs), strict=True)
        show_images(axes, data.test_input[:10], ["\n".join(map(str, each)) for each in answers])
        axes.set_xlabel("taken for, by " + " and ".join(run.implementation for run in runs))
