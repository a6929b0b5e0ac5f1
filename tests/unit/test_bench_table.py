"""The benchmark table: what it says, and one line for a file that will not do."""

import json
from pathlib import Path
from typing import Any

import pytest

from rnn_parity.bench.table import main


def entry(step: str, implementation: str, seconds: float) -> dict[str, Any]:
    info = {"device": "cpu", "kind": "RNN", "shape": "B1 T2 I3 H4", "step": step, "implementation": implementation}
    return {"extra_info": info, "stats": {"median": seconds}}


def write(path: Path, benchmarks: list[dict[str, Any]]) -> Path:
    machine = {"cpu": "A CPU", "cores": 2, "threads": 1, "torch": "2.15.0", "python_version": "3.11.7", "gpu": None}
    saved = {"machine_info": machine, "benchmarks": benchmarks, "datetime": "2026-11-21T08:00:00"}
    path.write_text(json.dumps(saved))
    return path


def test_divides_the_best_pass_of_each_implementation_by_that_of_the_built_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmarks = [
        entry("forward", "builtin", 0.004),
        entry("forward", "manual", 0.006),
        entry("forward", "per-sample", 0.010),
        entry("forward", "manual", 0.003),
        entry("forward", "builtin", 0.002),
        entry("training", "builtin", 0.010),
    ]
    assert main([str(write(tmp_path / "saved.json", benchmarks))]) == 0
    machine, _, _, _, row = capsys.readouterr().out.splitlines()
    assert machine == "A CPU, 2 cores, 1 threads; torch 2.15.0, Python 3.11.7, float32; 2026-11-21"
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        *("cpu", "RNN", "B1 T2 I3 H4"),
        *("2 ms", "3 ms", "1.50x", "5.00x"),
        *("10 ms", "", "", ""),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        ("{", "expected the JSON that --benchmark-json writes"),
        ("[]", "no benchmarks"),
        ('{"benchmarks": []}', "no benchmarks"),
        ('{"benchmarks": [{"name": "another"}]}', "without 'extra_info'"),
        ('{"benchmarks": [1]}', "expected the benchmarks of bench_layers.py"),
    ],
)
def test_a_file_that_will_not_do_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, problem: str
) -> None:
    path = tmp_path / "saved.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path)]) == 1
    printed = capsys.readouterr()
    assert not printed.out
    assert printed.err.count("\n") == 1
    assert problem in printed.err
