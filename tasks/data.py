"""Images of digits: MNIST from a verified cache, and the small set that scikit-learn bundles."""

import io
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from http.client import HTTPException
from pathlib import Path

import platformdirs
import pooch
import torch
from sklearn.datasets import load_digits as load_bundled_digits
from sklearn.model_selection import train_test_split
from torchvision.datasets import MNIST

from .files import write_atomically
from .task import Data, TaskError

logger = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds a server may stay silent before the next is asked


def cache_folder() -> Path:
    """Return the folder downloaded data is kept in: `RNN_PARITY_DATA`, or the user's cache folder."""
    return Path(os.environ.get("RNN_PARITY_DATA") or platformdirs.user_cache_path("rnn-parity"))


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
    with tempfile.TemporaryDirectory() as root:
        raw = Path(root, "MNIST", "raw")
        raw.mkdir(parents=True)
        for name, md5 in MNIST.resources:
            if not _take_from_cache(name, md5, raw):
                _take_from_mirror(name, md5, raw)
        train, test = _unpack_or_download(Path(root))
    pixels = [part.data.float() / 255 for part in (train, test)]
    return Data("mnist", pixels[0], train.targets, pixels[1], test.targets)


def _take_from_cache(name: str, md5: str, raw: Path) -> bool:
    """Copy a file out of the cache if it is there and whole."""
    cached = cache_folder() / "MNIST" / "raw" / name
    if not cached.is_file():
        return False
    try:
        _copy_verified(cached, md5, raw)
    except TaskError as error:
        logger.warning("%s; fetching it again", error)
        return False
    return True


def _take_from_mirror(name: str, md5: str, raw: Path) -> None:
    """Copy a file from the folder `RNN_PARITY_MNIST`, if that is set, and into the cache."""
    if mirror := os.environ.get("RNN_PARITY_MNIST"):
        _copy_verified(Path(mirror, name), md5, raw)
        _keep(raw / name)


def _copy_verified(source: Path, md5: str, folder: Path) -> None:
    """Copy a file; the copy's checksum counts, as the file itself may change meanwhile."""
    try:
        copy = shutil.copyfile(source, folder / source.name)
    except OSError as error:
        raise TaskError(f"cannot read {source}: {error.strerror}") from error
    found = pooch.file_hash(str(copy), alg="md5")
    if found != md5:
        copy.unlink()
        raise TaskError(f"{source} is damaged: expected MD5 {md5}, came {found}")


def _keep(file: Path) -> None:
    """Put a verified file into the cache."""
    folder = cache_folder() / "MNIST" / "raw"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / file.name, file.read_bytes())
    except OSError as error:
        logger.warning("cannot keep %s in %s: %s", file.name, folder, error.strerror)


def _unpack_or_download(root: Path) -> tuple[MNIST, MNIST]:
    """Return MNIST's train and test part; whatever compressed file is not there yet is downloaded."""
    missing = [(name, md5) for name, md5 in MNIST.resources if not (root / "MNIST" / "raw" / name).is_file()]
    names = ", ".join(name for name, _ in missing)
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
        for name, md5 in missing:
            file = root / "MNIST" / "raw" / name
            if file.is_file() and pooch.file_hash(str(file), alg="md5") == md5:
                _keep(file)


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
