"""Text of letters and spaces: The Time Machine from a verified cache, the Zen of Python, or any file."""

import re
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pooch
import torch
from torch import Tensor

from .cache import PATIENCE, DataFile
from .task import TaskError

SYMBOLS = " abcdefghijklmnopqrstuvwxyz"

URL = "http://d2l-data.s3-accelerate.amazonaws.com/timemachine.txt"
TIME_MACHINE = DataFile(
    "timemachine.txt", "sha1", "090b5e7e70c295757f55df93cb0a180b9691891a", Path("text"), "RNN_PARITY_TEXT"
)


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
    with redirect_stdout(StringIO()):  # the module prints it when it is first imported
        import this
    return letters("".join(this.d.get(c, c) for c in this.s))


def load_time_machine() -> str:
    """Return the letters and spaces of The Time Machine by H. G. Wells (1898).

    The file is held against its SHA-1 sum every time; it is kept in the cache, and taken from the folder
    `RNN_PARITY_TEXT` where that is set.

    Raises:
        TaskError: the file is neither in the cache nor in that folder and cannot be downloaded, or the one
            in that folder is missing or damaged.

    Source: https://d2l.ai/chapter_recurrent-neural-networks/text-sequence.html
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not TIME_MACHINE.take(folder):
            _download(folder)
            TIME_MACHINE.keep(folder / TIME_MACHINE.name)
        return read_text(folder / TIME_MACHINE.name)


def _download(folder: Path) -> None:
    """Download The Time Machine; pooch refuses and deletes what has another checksum."""
    file = TIME_MACHINE
    print(f"downloading {file.name}", flush=True)
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(
            URL,
            known_hash=f"{file.algorithm}:{file.checksum}",
            fname=file.name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=PATIENCE),
        )
    except (OSError, ValueError) as error:  # no answer; another file than expected
        reason = " ".join(str(error).split())
        raise TaskError(
            f"cannot download {file.name} ({reason}); set {file.mirror}=FOLDER to a folder that holds {file.name}, "
            "or run with --text FILE or --data zen"
        ) from error
