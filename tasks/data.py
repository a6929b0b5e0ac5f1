"""Public data, held against its checksums whenever it is read: images of digits, and text."""

import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import platformdirs
import pooch
import torch
from matplotlib.axes import Axes
from sklearn.datasets import load_digits as load_bundled_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torchvision.datasets import MNIST

from .report import show_images
from .task import Data, Run, Task, TaskError

PATIENCE = 5.0  # seconds a server may stay silent before the next is asked
CLASSES = 10
SYMBOLS = " abcdefghijklmnopqrstuvwxyz"
TIME_MACHINE_SERVERS = ("http://d2l-data.s3-accelerate.amazonaws.com/",)
TIME_MACHINE_HASH = "sha1:090b5e7e70c295757f55df93cb0a180b9691891a"


def fetch(name: str, known_hash: str, servers: Sequence[str], folder: Path, variable: str, instead: str) -> Path:
    """Return a file in the cache whose content has the known checksum.

    Where it is missing or damaged there, it is taken from the folder that an environment variable names, or else
    downloaded.

    Args:
        name: of the file.
        known_hash: its algorithm and checksum, as "md5:...".
        servers: addresses that end before the file's name, in the order in which they are asked.
        folder: in the cache, which is `RNN_PARITY_DATA` or the user's cache folder.
        variable: the environment variable.
        instead: how to do without the file.

    Raises:
        TaskError: no source has the file, or the one in that folder is missing or damaged.
    """
    cache = Path(os.environ.get("RNN_PARITY_DATA") or platformdirs.user_cache_path("rnn-parity")) / folder
    mirror = os.environ.get(variable)
    pooch.get_logger().setLevel("WARNING")
    reason = ""
    for server in [mirror] if mirror else servers:
        try:
            file: str = pooch.retrieve(
                url=str(Path(server, name)) if mirror else server + name,
                known_hash=known_hash,
                fname=name,
                path=cache,
                downloader=_copy if mirror else _download,
            )
            return Path(file)
        except (OSError, ValueError) as error:  # no answer, or no folder to write to; another content than expected
            reason = reason or " ".join(str(error).split())
    if mirror:
        raise TaskError(f"cannot take {name} from {variable}={mirror}: {reason}")
    raise TaskError(
        f"cannot download {name} ({reason}); set {variable}=FOLDER to a folder that holds it, or run with {instead}"
    )


def _copy(source: str, target: str, _: object) -> None:
    shutil.copyfile(source, target)


def _download(url: str, target: str, of: object) -> None:
    print(f"downloading {url.rpartition('/')[2]}", flush=True)
    pooch.HTTPDownloader(timeout=PATIENCE, progressbar=sys.stderr.isatty())(url, target, of)


def load_mnist() -> Data:
    """Return MNIST: 60,000 images to train, 10,000 to test, 28 x 28.

    The cache keeps the four compressed files only: what torchvision unpacks of them is trained on at once.

    Returns:
        The data; images of pixels from 0 to 1.

    Raises:
        TaskError: as `fetch`, with the folder `RNN_PARITY_MNIST`.

    Source:
        https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.MNIST.html
    """
    within = Path("MNIST", "raw")  # where torchvision looks
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, within)
        raw.mkdir(parents=True)
        for name, md5 in MNIST.resources:
            file = fetch(name, f"md5:{md5}", MNIST.mirrors, within, "RNN_PARITY_MNIST", "--data digits")
            shutil.copy(file, raw)
        try:
            with redirect_stderr(io.StringIO()):
                train, test = MNIST(root, train=True, download=True), MNIST(root, train=False)
        except (OSError, RuntimeError) as error:
            raise TaskError(f"cannot unpack MNIST: {' '.join(str(error).split())}") from error
    pixels = [part.data.float() / 255 for part in (train, test)]
    return Data("mnist", pixels[0], train.targets, pixels[1], test.targets)


def load_digits() -> Data:
    """Return scikit-learn's bundled digits, 8 x 8: four fifths to train (1437), one fifth to test (360).

    Returns:
        The data; images of pixels from 0 to 1, each digit's share the same in both parts.
    """
    bundled = load_bundled_digits()
    parts = train_test_split(
        bundled.images / 16, bundled.target, test_size=0.2, random_state=0, stratify=bundled.target
    )
    train_images, test_images, train_labels, test_labels = map(torch.from_numpy, parts)
    return Data("digits", train_images.float(), train_labels, test_images.float(), test_labels)


@dataclass(frozen=True, kw_only=True)
class ImageTask(Task):
    """An image of a digit in, the digit out.

    Args:
        data: "mnist" (60,000 and 10,000 images, 28 x 28, fetched once) or "digits" (1,437 and 360 images, 8 x 8,
            no network).
    """

    epochs_on: ClassVar[Mapping[str, int]]
    """How often the training images of each data are seen where nobody says."""
    mean_of_examples: ClassVar[bool] = True

    data: Literal["mnist", "digits"] = "mnist"

    @property
    def epochs(self) -> int:
        """How often the training images are seen where nobody says."""
        return self.epochs_on[self.data]

    def load(self) -> Data:
        """Return the images (examples, rows, pixels), pixels from 0 to 1, and their digits (examples).

        Raises:
            TaskError: MNIST cannot be had, or is damaged.
        """
        return load_mnist() if self.data == "mnist" else load_digits()

    def answers(self, model: nn.Module, data: Data, count: int | None = None) -> tuple[list[str], list[str]]:
        """Return what the model takes the first test images for, and what they are; all of them by default."""
        return _digits(self.predict(model, data.test_input[:count])), _digits(data.test_target[:count])

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return the first ten predictions beside their labels."""
        predicted, label = self.answers(model, data, 10)
        return f"predicted {' '.join(predicted)}\nlabel     {' '.join(label)}"

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Show test images over what each model takes them for, many of them such that a model got wrong."""
        answers = [self.answers(run.model, data)[0] for run in runs]
        _, right = self.answers(runs[0].model, data)
        show_images(axes, data.test_input, answers, right, shown=32)


def _digits(labels: Tensor) -> list[str]:
    return [str(label) for label in labels.tolist()]


def letters(text: str) -> str:
    """Return a text in lower case, whatever lies between its letters a to z made a single space."""
    return re.sub("[^a-z]+", " ", text.lower())


def encode(text: str) -> Tensor:
    """Return the classes (characters,) of a text of letters and spaces."""
    return torch.tensor([SYMBOLS.index(c) for c in text])


def decode(classes: Tensor) -> str:
    """Return the text of classes (characters,)."""
    return "".join(SYMBOLS[i] for i in classes)


def read_text(file: str | Path) -> str:
    """Return the letters and spaces of a file.

    Raises:
        TaskError: it cannot be read, or is not UTF-8.
    """
    try:
        return letters(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaskError(f"expected a text in UTF-8, came {file}: {error.reason} at byte {error.start}") from error


def load_zen() -> str:
    """Return the letters and spaces of the Zen of Python, which comes with every Python."""
    with redirect_stdout(io.StringIO()):  # the module prints it when it is first imported
        import this
    return letters("".join(this.d.get(c, c) for c in this.s))


def load_time_machine() -> str:
    """Return the letters and spaces of The Time Machine by H. G. Wells (1898).

    Raises:
        TaskError: as `fetch`, with the folder `RNN_PARITY_TEXT`.

    Source: https://d2l.ai/chapter_recurrent-neural-networks/text-sequence.html
    """
    instead = "--text FILE or --data zen"
    return read_text(
        fetch("timemachine.txt", TIME_MACHINE_HASH, TIME_MACHINE_SERVERS, Path("text"), "RNN_PARITY_TEXT", instead)
    )
