"""Data files are held against their checksums every time; a damaged one is never trained on."""

import gzip
import hashlib
import io
import os
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from rnn_parity.tasks.data import load_digits, load_mnist
from rnn_parity.tasks.task import TaskError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
RAW = Path("MNIST", "raw")


def idx(content: np.ndarray) -> bytes:
    """A file in MNIST's format: type (8: bytes), rank, sizes, content."""
    head = struct.pack(f">HBB{content.ndim}I", 0, 8, content.ndim, *content.shape)
    return gzip.compress(head + content.astype(np.uint8).tobytes())


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small MNIST in a folder of its own, known to torchvision by its checksums; downloads fail."""
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
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setenv("RNN_PARITY_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("RNN_PARITY_MNIST", str(folder))
    return folder


def unreachable(request: Request) -> None:
    raise URLError("unreachable")


@pytest.fixture
def cache(mirror: Path, tmp_path: Path) -> Path:
    """The cache, filled."""
    load_mnist()
    return tmp_path / "cache" / RAW


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def empty(file: Path) -> None:
    os.truncate(file, 0)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


damages = pytest.mark.parametrize("damage", [truncate, empty, flip_a_byte])
names = pytest.mark.parametrize("name", [IMAGES, LABELS])


def assert_whole(cache: Path) -> None:
    found = {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in cache.iterdir()}
    assert found == dict(MNIST.resources)


def test_mirror_fills_the_cache_and_the_cache_is_enough(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_mnist()
    assert_whole(tmp_path / "cache" / RAW)
    monkeypatch.delenv("RNN_PARITY_MNIST")
    second = load_mnist()
    assert first.train_input.shape == (6, 28, 28)
    assert first.test_target.shape == (3,)
    assert round(255 * float(first.train_input.max())) == 9
    assert first.describe() == second.describe()


@damages
@names
def test_damaged_file_in_the_mirror_is_refused(
    mirror: Path, tmp_path: Path, damage: Callable[[Path], None], name: str
) -> None:
    damage(mirror / name)
    with pytest.raises(TaskError, match=rf"{mirror / name} is damaged: expected MD5 \w{{32}}, came \w{{32}}$"):
        load_mnist()
    assert not (tmp_path / "cache" / RAW / name).exists()


def test_file_missing_from_the_mirror_is_named(mirror: Path) -> None:
    (mirror / LABELS).unlink()
    with pytest.raises(TaskError, match=f"cannot read {mirror / LABELS}: No such file"):
        load_mnist()


@damages
@names
def test_damaged_file_in_the_cache_is_named_and_copied_again(
    cache: Path, damage: Callable[[Path], None], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = load_mnist().describe()
    damage(cache / name)
    assert load_mnist().describe() == before
    assert f"{cache / name} is damaged" in caplog.text
    assert_whole(cache)


@damages
def test_damaged_file_in_the_cache_is_downloaded_again(
    cache: Path, mirror: Path, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_mnist().describe()
    damage(cache / IMAGES)
    monkeypatch.delenv("RNN_PARITY_MNIST")
    serve(mirror, monkeypatch)
    assert load_mnist().describe() == before
    assert_whole(cache)


def serve(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let downloads succeed with the mirror's files."""

    def open_copy(request: Request) -> io.BytesIO:
        content = (mirror / Path(request.full_url).name).read_bytes()
        response = io.BytesIO(content)
        response.__dict__.update(url=request.full_url, length=len(content))
        return response

    monkeypatch.setattr(urllib.request, "urlopen", open_copy)


@damages
def test_damaged_download_is_refused_and_the_rest_is_kept(
    mirror: Path, tmp_path: Path, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(mirror / LABELS)
    monkeypatch.delenv("RNN_PARITY_MNIST")
    serve(mirror, monkeypatch)
    with pytest.raises(TaskError, match=r"File not found or corrupted"):
        load_mnist()
    assert [file.name for file in (tmp_path / "cache" / RAW).iterdir()] == [IMAGES]


def test_unpacked_files_in_the_cache_are_not_trusted(cache: Path) -> None:
    before = load_mnist().describe()
    for name, _ in MNIST.resources:
        content = gzip.decompress((cache / name).read_bytes())
        (cache / name).with_suffix("").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert load_mnist().describe() == before


def test_many_at_once_leave_a_whole_cache(mirror: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: load_mnist().describe(), range(16)))
    assert all(one == found[0] for one in found)
    assert_whole(tmp_path / "cache" / RAW)


def test_no_network_names_what_is_missing_and_both_ways_on(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNN_PARITY_MNIST")
    with pytest.raises(TaskError) as caught:
        load_mnist()
    message = str(caught.value)
    assert "\n" not in message
    for part in (IMAGES, LABELS, "unreachable", "RNN_PARITY_MNIST=FOLDER", "--data digits"):
        assert part in message


def test_no_network_ends_the_command_with_one_line(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"  # the port that discards
    environment = {key: value for key, value in os.environ.items() if key != "RNN_PARITY_MNIST"}
    environment |= {"RNN_PARITY_DATA": str(tmp_path), "http_proxy": nowhere, "https_proxy": nowhere}
    command = [sys.executable, "-m", "rnn_parity.tasks.mnist"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("mnist: ")
    assert "RNN_PARITY_MNIST=FOLDER" in done.stderr


def test_digits_are_split_evenly() -> None:
    data = load_digits()
    assert data.train_input.shape == (1437, 8, 8)
    assert data.test_input.shape == (360, 8, 8)
    assert float(data.train_input.max()) == 1.0
    assert set(torch.bincount(data.test_target).tolist()) <= {35, 36, 37}
