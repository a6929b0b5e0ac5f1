"""Data files are held against their checksums whenever they are read; a damaged one is never trained on."""

import gzip
import hashlib
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from rnn_parity.tasks import data as data_module
from rnn_parity.tasks.charlm import Charlm
from rnn_parity.tasks.cli import main
from rnn_parity.tasks.data import (
    SYMBOLS,
    decode,
    encode,
    letters,
    load_digits,
    load_mnist,
    load_time_machine,
    load_zen,
    read_text,
)
from rnn_parity.tasks.task import TaskError

IMAGES, LABELS, TEXT = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "timemachine.txt"
CONTENT = b"A Machine, by X. Y.\n\n\nChapter 1\n\xe2\x80\x94It's ti-\nme."
NOWHERE = "http://127.0.0.1:9/"  # the port that discards


def idx(content: np.ndarray) -> bytes:
    """A file in MNIST's format: type (8: bytes), rank, sizes, content."""
    head = struct.pack(f">HBB{content.ndim}I", 0, 8, content.ndim, *content.shape)
    return gzip.compress(head + content.astype(np.uint8).tobytes())


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MNIST and a short text in a folder of their own, known by their checksums; downloads fail."""
    random = np.random.default_rng(0)
    folder = tmp_path / "mirror"
    folder.mkdir()
    resources = []
    for part, size in (("train", 6), ("t10k", 3)):
        for kind, shape in (("images-idx3", (size, 28, 28)), ("labels-idx1", (size,))):
            content = idx(random.integers(0, 10, shape))
            name = f"{part}-{kind}-ubyte.gz"
            (folder / name).write_bytes(content)
            resources.append((name, hashlib.md5(content).hexdigest()))
    (folder / TEXT).write_bytes(CONTENT)
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setattr(data_module, "TIME_MACHINE_HASH", f"sha1:{hashlib.sha1(CONTENT).hexdigest()}")
    serve_from(NOWHERE, monkeypatch)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("RNN_PARITY_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("RNN_PARITY_MNIST", str(folder))
    monkeypatch.setenv("RNN_PARITY_TEXT", str(folder))
    return folder


def serve_from(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MNIST, "mirrors", [NOWHERE, server])  # the first never answers
    monkeypatch.setattr(data_module, "TIME_MACHINE_SERVERS", (server,))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def served(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The mirror's folder on a server, from which it is downloaded."""
    no_mirror(monkeypatch)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror))) as server:
        serve_from(f"http://127.0.0.1:{server.server_port}/", monkeypatch)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()  # seconds until it sees that it is over
        yield
        server.shutdown()


def no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNN_PARITY_MNIST")
    monkeypatch.delenv("RNN_PARITY_TEXT")


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def load() -> tuple[str, str]:
    """What is trained on: the images' checksum, and the text."""
    return load_mnist().sha256, load_time_machine()


damages = pytest.mark.parametrize("damage", [truncate, empty, flip_a_byte])
names = pytest.mark.parametrize("name", [IMAGES, LABELS, TEXT])


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.rglob("*.*") if file.is_file()}


def test_mirror_fills_the_cache_and_the_cache_is_enough(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load()
    assert files(tmp_path / "cache") == files(mirror)
    no_mirror(monkeypatch)
    assert load() == first
    assert first[1] == letters(CONTENT.decode())
    data = load_mnist()
    assert data.train_input.shape == (6, 28, 28)
    assert data.test_target.shape == (3,)
    assert round(255 * float(data.train_input.max())) == 9


@damages
@names
def test_damaged_file_in_the_mirror_is_refused(
    mirror: Path, tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    damage(mirror / name)
    with pytest.raises(TaskError, match=rf"cannot take {name} from RNN_PARITY_\w+={mirror}: .*expected .* but got"):
        load()
    assert name not in files(tmp_path / "cache")


@names
def test_file_missing_from_the_mirror_is_named(mirror: Path, name: str) -> None:
    (mirror / name).unlink()
    with pytest.raises(TaskError, match=f"cannot take {name} from RNN_PARITY_.*: .*No such file"):
        load()


@pytest.mark.usefixtures("served")
@damages
@names
def test_damaged_file_in_the_cache_is_downloaded_again(
    mirror: Path, tmp_path: Path, damage: Callable[[Path], None], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load()
    capsys.readouterr()
    (file,) = (tmp_path / "cache").rglob(name)
    damage(file)
    assert load() == before
    assert capsys.readouterr().out == f"downloading {name}\n" * (1 if name == TEXT else 2)
    assert files(tmp_path / "cache") == files(mirror)


@pytest.mark.usefixtures("served")
@damages
@names
def test_damaged_download_is_refused(mirror: Path, tmp_path: Path, damage: Callable[[Path], None], name: str) -> None:
    damage(mirror / name)
    with pytest.raises(TaskError, match=f"cannot download {name} "):
        load()
    assert name not in files(tmp_path / "cache")


def test_unpacked_files_in_the_cache_are_not_trusted(mirror: Path, tmp_path: Path) -> None:
    before = load()
    for name, _ in MNIST.resources:
        file = tmp_path / "cache" / "MNIST" / "raw" / name
        content = gzip.decompress(file.read_bytes())
        file.with_suffix("").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert load() == before


def test_many_at_once_leave_a_whole_cache(mirror: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: load_time_machine(), range(16)))
    assert found == {letters(CONTENT.decode())}
    assert files(tmp_path / "cache") == {TEXT: CONTENT}


@pytest.mark.parametrize(
    ("loader", "parts"),
    [
        (load_mnist, (IMAGES, "RNN_PARITY_MNIST=FOLDER", "--data digits")),
        (load_time_machine, (TEXT, "RNN_PARITY_TEXT=FOLDER", "--text FILE or --data zen")),
    ],
)
@pytest.mark.usefixtures("mirror")
def test_no_network_names_what_is_missing_and_the_ways_on(
    loader: Callable[[], object], parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_mirror(monkeypatch)
    with pytest.raises(TaskError) as caught:
        loader()
    assert "\n" not in str(caught.value)
    for part in ("cannot download", *parts):
        assert part in str(caught.value)


def test_no_network_ends_the_command_with_one_line(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "RNN_PARITY_TEXT"}
    environment |= {"RNN_PARITY_DATA": str(tmp_path), "http_proxy": NOWHERE, "https_proxy": NOWHERE}
    command = [sys.executable, "-m", "rnn_parity.tasks.charlm"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"charlm: cannot download {TEXT} (")


def test_digits_are_split_evenly() -> None:
    data = load_digits()
    assert data.train_input.shape == (1437, 8, 8)
    assert data.test_input.shape == (360, 8, 8)
    assert float(data.train_input.max()) == 1.0
    assert set(torch.bincount(data.test_target).tolist()) <= {35, 36, 37}


def test_all_but_letters_become_one_space() -> None:
    assert letters(CONTENT.decode()) == "a machine by x y chapter it s ti me "
    assert decode(encode(SYMBOLS)) == SYMBOLS
    assert encode(" az").tolist() == [0, 1, 26]


def test_the_zen_comes_with_python(capfd: pytest.CaptureFixture[str]) -> None:
    assert load_zen().startswith("the zen of python by tim peters beautiful is better than ugly ")
    assert load_zen().endswith("let s do more of those ")
    assert capfd.readouterr().out == ""


def test_unreadable_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"^cannot read .*: Is a directory$"):
        read_text(tmp_path)
    (tmp_path / "image").write_bytes(b"\x89PNG")
    with pytest.raises(TaskError, match=r"^expected a text in UTF-8, came .*image: invalid start byte at byte 0$"):
        read_text(tmp_path / "image")


def test_too_short_a_text_ends_the_command_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("x" * 399)
    with pytest.raises(SystemExit) as caught:
        main(Charlm, ["--text", str(file), "--device", "cpu", "--out", str(tmp_path / "out")])
    expected = f"charlm: expected a text of at least 400 letters and spaces, came {file} with 399"
    assert caught.value.code == expected
