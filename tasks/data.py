"""Images of digits: MNIST from a verified cache, and the small set that scikit-learn bundles."""

import io
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from http.client import HTTPException
from pathlib import Path

import torch
from sklearn.datasets import load_digits as load_bundled_digits
from sklearn.model_selection import train_test_split
from torchvision.datasets import MNIST

from .cache import PATIENCE, DataFile
from .task import Data, TaskError

RAW = Path("MNIST", "raw")  # where torchvision looks


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


def load_mnist() -> Data:
    """Return MNIST: 60,000 images to train, 10,000 to test, 28 x 28.

    The cache keeps the four compressed files only. Every time, each is copied out and held against its MD5
    sum before it is unpacked, so that no damaged file and no other process can reach the training.

    Returns:
        The data; images of pixels from 0 to 1.

    Raises:
        TaskError: a file is neither in the cache nor in the folder `RNN_PARITY_MNIST` and cannot be
            downloaded, or the one in that folder is missing or damaged.

    Source:
        https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.MNIST.html
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        raw = root / RAW
        raw.mkdir(parents=True)
        files = [DataFile(name, "md5", md5, RAW, "RNN_PARITY_MNIST") for name, md5 in MNIST.resources]
        missing = [file for file in files if not file.take(raw)]
        train, test = _unpack_or_download(root, missing)
    pixels = [part.data.float() / 255 for part in (train, test)]
    return Data("mnist", pixels[0], train.targets, pixels[1], test.targets)


def _unpack_or_download(root: Path, missing: Sequence[DataFile]) -> tuple[MNIST, MNIST]:
    """Return MNIST's train and test part; the missing compressed files are downloaded."""
    names = ", ".join(file.name for file in missing)
    if missing:
        print(f"downloading {names}", flush=True)
    try:
        with _impatient():
            return MNIST(root, train=True, download=True), MNIST(root, train=False)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if not missing:
            raise TaskError(f"cannot unpack MNIST: {reason}") from error
        raise TaskError(
            f"cannot download {names} ({reason}); set RNN_PARITY_MNIST=FOLDER to a folder that holds them, "
            "or run with --data digits"
        ) from error
    finally:
        for file in missing:
            if file.is_whole(root / RAW / file.name):
                file.keep(root / RAW / file.name)


@contextmanager
def _impatient() -> Iterator[None]:
    """Download with a time limit, which torchvision does not set, and with its bar on a terminal only."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        with redirect_stderr(sys.stderr if sys.stderr.isatty() else io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)
