"""The text is held against its checksum every time; a damaged one is never trained on."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rnn_parity.tasks import text as text_module
from rnn_parity.tasks.charlm import Charlm
from rnn_parity.tasks.command_line import main
from rnn_parity.tasks.task import TaskError
from rnn_parity.tasks.text import SYMBOLS, decode, encode, letters, load_time_machine, load_zen, read_text

NAME = "timemachine.txt"
CONTENT = b"A Machine, by X. Y.\n\n\nChapter 1\n\xe2\x80\x94It's ti-\nme."


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short text in a folder of its own, known by its checksum; downloads fail."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    file = replace(text_module.TIME_MACHINE, checksum=hashlib.sha1(CONTENT).hexdigest())
    monkeypatch.setattr(text_module, "TIME_MACHINE", file)
    monkeypatch.setattr(text_module, "URL", f"http://127.0.0.1:9/{NAME}")  # the port that discards
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("RNN_PARITY_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("RNN_PARITY_TEXT", str(folder))
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def served(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The mirror's folder on a server, from which it is downloaded."""
    monkeypatch.delenv("RNN_PARITY_TEXT")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror))) as server:
        monkeypatch.setattr(text_module, "URL", f"http://127.0.0.1:{server.server_port}/{NAME}")
        Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "text" / NAME


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


damages = pytest.mark.parametrize("damage", [truncate, flip_a_byte])


def test_all_but_letters_become_one_space() -> None:
    assert letters(CONTENT.decode()) == "a machine by x y chapter it s ti me "
    assert decode(encode(SYMBOLS)) == SYMBOLS
    assert encode(" az").tolist() == [0, 1, 26]


def test_mirror_fills_the_cache_and_the_cache_is_enough(
    mirror: Path, cached: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_time_machine() == letters(CONTENT.decode())
    monkeypatch.delenv("RNN_PARITY_TEXT")
    assert load_time_machine() == letters(CONTENT.decode())
    assert cached.read_bytes() == CONTENT


@damages
def test_damaged_file_in_the_mirror_is_refused(mirror: Path, cached: Path, damage: Callable[[Path], None]) -> None:
    damage(mirror / NAME)
    with pytest.raises(TaskError, match=rf"{NAME} is damaged: expected SHA1 \w{{40}}, came \w{{40}}$"):
        load_time_machine()
    assert not cached.exists()


def test_mirror_without_the_file_is_refused(mirror: Path) -> None:
    (mirror / NAME).unlink()
    with pytest.raises(TaskError, match=rf"^cannot read {mirror / NAME}: No such file or directory$"):
        load_time_machine()


@damages
def test_damaged_file_in_the_cache_is_taken_from_the_mirror_again(
    mirror: Path, cached: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    load_time_machine()
    damage(cached)
    assert load_time_machine() == letters(CONTENT.decode())
    assert f"{cached} is damaged" in caplog.text
    assert cached.read_bytes() == CONTENT


@pytest.mark.usefixtures("served")
def test_downloaded_once(mirror: Path, cached: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert load_time_machine() == letters(CONTENT.decode())
    assert cached.read_bytes() == CONTENT
    (mirror / NAME).unlink()
    assert load_time_machine() == letters(CONTENT.decode())
    assert capfd.readouterr() == (f"downloading {NAME}\n", "")


@damages
@pytest.mark.usefixtures("served")
def test_damaged_download_is_refused(mirror: Path, cached: Path, damage: Callable[[Path], None]) -> None:
    damage(mirror / NAME)
    with pytest.raises(TaskError, match="does not match the known hash"):
        load_time_machine()
    assert not cached.exists()


def test_no_network_names_what_is_missing_and_the_ways_on(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RNN_PARITY_TEXT")
    with pytest.raises(TaskError) as caught:
        load_time_machine()
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"cannot download {NAME}", "RNN_PARITY_TEXT=FOLDER", "--text FILE", "--data zen"):
        assert part in message


def test_no_network_ends_the_command_with_one_line(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    environment = {key: value for key, value in os.environ.items() if key != "RNN_PARITY_TEXT"}
    environment |= {"RNN_PARITY_DATA": str(tmp_path), "http_proxy": nowhere, "https_proxy": nowhere}
    command = [sys.executable, "-m", "rnn_parity.tasks.charlm"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"charlm: cannot download {NAME} (")


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
