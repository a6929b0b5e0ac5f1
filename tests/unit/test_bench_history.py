"""The history of the benchmarks: what is appended survives, what changed is found, what cannot be read is named."""

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from rnn_parity.bench.history import HistoryError, Record, append, changes, main, read, told

PRINT = {"cpu": "one", "torch": "2"}


def record(commit: int = 0, ratio: float = 1.0, **changed: object) -> Record:
    fields = {"commit": f"{commit:040x}", "date": "2026-01-01", "aggregate": "gru=a:GRU forward", "ratio": ratio}
    rest = {
        "low": ratio * 0.98,
        "high": ratio * 1.02,
        "processes": 12,
        "counts": {"peak_bytes": 3},
        "fingerprint": PRINT,
    }
    return Record(**{**fields, **rest, **changed})  # type: ignore[arg-type]


def test_what_is_appended_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    assert append(file, [record(1), record(2)]) == []
    append(file, [record(3)])
    assert read(file) == ([record(1), record(2), record(3)], [])


def test_half_a_line_is_set_aside_and_nothing_else_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    append(file, [record(1)])
    half = file.read_text()[:30]
    file.write_text(file.read_text() + half)
    assert read(file) == ([record(1)], [f"{file}, line 2: no whole record, left out"])
    (note,) = append(file, [record(2)])
    assert note == f"{file}: the last line was cut off, it is now in {file}.broken"
    assert read(file) == ([record(1), record(2)], [])
    assert Path(f"{file}.broken").read_text() == half + "\n"


def _append_many(file: Path, start: int) -> None:
    for k in range(start, start + 20):
        append(file, [record(k), record(k)])


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append_many, args=(file, start)) for start in (0, 100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    records, notes = read(file)
    assert notes == []
    assert sorted(int(r.commit, 16) for r in records) == sorted(2 * [*range(20), *range(100, 120)])


def test_a_change_is_found_where_it_is() -> None:
    draw_ = np.random.default_rng(0)
    level = [1.0] * 10 + [1.1] * 10
    series = [record(k, ratio * float(np.exp(draw_.normal(0, 0.01)))) for k, ratio in enumerate(level)]
    assert changes(series) == [10]
    assert any(line.startswith("  changed at 000") for line in told(series))


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_change(seed: int) -> None:
    draw_ = np.random.default_rng(seed)
    assert changes([record(k, float(np.exp(draw_.normal(0, 0.02)))) for k in range(30)]) == []


def test_another_fingerprint_starts_another_series() -> None:
    machines = [record(k, 1.0 + k // 10, fingerprint={"cpu": f"{k // 10}"}) for k in range(20)]
    assert [line for line in told(machines) if "changed" in line] == []
    assert len(told(machines)) == 2


def test_it_is_drawn_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.jsonl"
    append(file, [record(k, 1 + (k > 6), aggregate=f"gru=a:GRU {step}") for k in range(12) for step in "ab"])
    assert main([str(file), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "changed at 0000000000: 1.00 to 2.00" in said
    picture = (tmp_path / "out/history.svg").read_text()
    assert picture.count("gru=a:GRU a") == 1
    assert "0000000" in picture


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "expected a history of JSON lines"),
        ("", "expected at least one record"),
        (json.dumps({"version": 2, "commit": "a"}), "expected version 1 or older, got 2: a newer rnn-parity wrote it"),
    ],
)
def test_what_is_no_history_is_one_line(
    tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "history.jsonl"
    if content is not None:
        file.write_text(content)
    assert main([str(file)]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_newer_history_is_not_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text(json.dumps({"version": 2}) + "\n")
    with pytest.raises(HistoryError, match="newer"):
        append(file, [record()])
    assert file.read_text() == json.dumps({"version": 2}) + "\n"
