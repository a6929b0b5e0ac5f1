"""The gate as a user runs it, on a small repository of layers: what it says, its exit status, and what it leaves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rnn_parity.bench.arms import Shape
from rnn_parity.bench.gate import command, exact, sides, verdicts
from rnn_parity.bench.gate.plan import Aggregate, Layer, Plan
from rnn_parity.bench.gate.workplace import environment
from rnn_parity.bench.history import read

PLAIN = "import torch\n\n\nclass MyGRU(torch.nn.GRU):\n    pass\n"
COSTLY = f"{PLAIN[:-9]}    def forward(self, input, hx=None):\n        return super().forward(input * 1.0, hx)\n"
WRONG = COSTLY.replace("input * 1.0", "input * 2.0")
GATE = ["--implementation", "gru=my_layers:MyGRU", "--quick"]
LAYER = Layer("gru", "my_layers:MyGRU")


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@localhost")
    return subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a layer, current, on a branch that has left main."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    git("init", "--quiet", "--initial-branch", "main")
    (folder / "my_layers.py").write_text(PLAIN)
    git("add", ".")
    git("commit", "--quiet", "--message", "a layer")
    git("checkout", "--quiet", "-b", "branch")
    return folder


@pytest.fixture(autouse=True)
def leaves_nothing(repository: Path, tmp_path: Path) -> Iterator[None]:
    yield
    assert list((tmp_path / "temporary").glob("rnn-parity-gate-*")) == []
    assert len(git("worktree", "list").splitlines()) == 1


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rnn-parity gate: ")
    return line


def test_a_comment_is_fine_and_what_is_not_committed_counts(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "my_layers.py").write_text(f"from helper import torch\n{PLAIN.partition(chr(10))[2]}# mine\n")
    (repository / "helper.py").write_text("import torch\n")  # untracked
    status = git("status", "--porcelain")
    assert command.main(["--base", "main", *GATE, "--only", "counts"]) == 0
    assert capsys.readouterr().out.startswith("FINE: nothing was timed")
    assert git("status", "--porcelain") == status


def test_an_operator_more_is_named_until_it_is_accepted(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "my_layers.py").write_text(COSTLY)
    git("commit", "--quiet", "--all", "--message", "slower")
    report = repository / "gate.json"
    assert command.main(["--base", "main", *GATE, "--json", str(report)]) == 1  # and is not timed
    said = capsys.readouterr().out
    assert "REGRESSION: gru=my_layers:MyGRU forward B10 T30 I5 H8: operator calls (aten.mul.Tensor" in said
    assert json.loads(report.read_text())["answer"] == "regression"
    assert command.main(["--write-counts", *GATE]) == 0
    assert command.main(["--base", "main", *GATE, "--only", "counts"]) == 0
    assert ", accepted" in capsys.readouterr().out


def test_a_layer_that_became_wrong_is_a_regression(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (repository / "my_layers.py").write_text(WRONG)
    assert command.main(["--base", "main", *GATE]) == 1
    assert "gru=my_layers:MyGRU: wrong: error" in capsys.readouterr().out
    assert "REGRESSION: head" in (tmp_path / "summary.md").read_text()


def test_a_layer_that_base_lacks_is_not_compared(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "my_layers.py").write_text(PLAIN + "\n\nclass Other(torch.nn.GRU):\n    pass\n")
    other = ["--implementation", "gru=my_layers:Other"]
    assert command.main(["--base", "main", *other, "--quick"]) == 4
    assert "nothing to compare with: base" in one_line(capsys)
    assert command.main(["--base", "main", *other, *GATE, "--only", "counts"]) == 0
    assert "not compared: base" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("result", "asked", "status"),
    [({"forward": "passed"}, 1, 0), ({"forward": "failed"}, 2, 1), ({"forward": "error"}, 2, 1)],
)
def test_an_aspect_that_passed_at_base_and_fails_at_head_is_a_regression(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    result: dict[str, str],
    asked: int,
    status: int,
) -> None:
    sides_asked = []

    def judged(place: Any, side: sides.Side, layers: Any) -> verdicts.Verdicts:
        sides_asked.append(side.name)
        return {layer: result if side.name == "head" else {"forward": "passed"} for layer in layers}

    monkeypatch.setattr(verdicts, "judged", judged)
    assert command.main(["--base", "main", *GATE, "--only", "verdicts"]) == status
    assert sides_asked == ["head", "base"][:asked]
    assert ("gru=my_layers:MyGRU fails forward, which passed at base" in capsys.readouterr().out) == bool(status)


def test_what_failed_at_base_too_is_no_regression() -> None:
    assert verdicts.lost({LAYER: {"packed": "failed"}}, {LAYER: {"packed": "failed", "state": "passed"}}) == []


@pytest.mark.slow
def test_the_judge_is_asked_about_head_and_then_base(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stateless = COSTLY.replace("input * 1.0, hx", "input")
    (repository / "my_layers.py").write_text(stateless)
    assert command.main(["--base", "main", *GATE, "--only", "verdicts"]) == 1
    assert "fails forward, state" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("text", "status"), [(PLAIN + "# mine\n", 0), (COSTLY.replace("1.0", "1.0 ** 1"), 0)])
def test_times_are_taken_and_kept(repository: Path, text: str, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "my_layers.py").write_text(text)
    git("commit", "--quiet", "--all", "--message", "a comment")
    kept = ["--history", "history.jsonl", "--keep", "kept"]
    assert command.main(["--base", "main", *GATE, "--only", "times", "--tolerance", "30", *kept]) == status
    assert "FINE: none of 2 is slower by 30% or more" in capsys.readouterr().out
    records, notes = read(repository / "history.jsonl")
    assert [record.aggregate for record in records] == [f"{LAYER} forward", f"{LAYER} training"]
    assert notes == []
    assert all(0.5 < record.ratio < 2 for record in records)
    assert len(list((repository / "kept/first").iterdir())) == 24


def test_a_process_takes_rounds_of_layer_and_built_in(repository: Path, tmp_path: Path) -> None:
    Plan((Aggregate(LAYER, "training"),), ((Shape(2, 3, 4, 5), 4),)).write(tmp_path / "plan.json")
    files = [str(tmp_path / "plan.json"), str(tmp_path / "times.json")]
    measure = [sys.executable, "-m", "rnn_parity.bench.gate.measure", *files]
    subprocess.run(measure, check=True, env=environment([repository], 1), cwd=tmp_path, capture_output=True)
    (benchmark,) = json.loads((tmp_path / "times.json").read_text())["benchmarks"]
    info = benchmark["extra_info"]
    assert (info["aggregate"], info["shape"]) == ("gru=my_layers:MyGRU training", "B2 T3 I4 H5")
    assert len(info["layer"]) == len(info["control"]) == 4
    assert all(0 < seconds < 1 for seconds in info["layer"] + info["control"])


def bad_revision(repository: Path) -> list[str]:
    return ["--base", "nowhere"]


def bad_build(repository: Path) -> list[str]:
    (repository / "setup.py").write_text("raise SystemExit('this does not build')\n")
    return ["--base", "main"]


def bad_counts(repository: Path) -> list[str]:
    (repository / "gate-counts.json").write_text("{}")
    return ["--base", "main"]


def unrelated(repository: Path) -> list[str]:
    git("checkout", "--quiet", "--orphan", "alone")
    git("commit", "--quiet", "--message", "alone")
    return ["--base", "main"]


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (bad_revision, "expected --base to name a commit, got 'nowhere'"),
        (bad_build, " does not build: "),
        (bad_counts, "expected gate-counts.json to hold accepted counts"),
        (unrelated, "expected --base and HEAD to have a commit in common"),
        (lambda _: ["--base", "main", "--history", "nowhere/history.jsonl"], "expected a folder for --history"),
        (lambda _: ["--base", "main", "--json", "nowhere/gate.json"], "expected a folder for --json"),
        (lambda _: ["--base", "main", "--implementation", "gpu=a:B"], "expected KIND=MODULE:ATTRIBUTE"),
    ],
)
def test_bad_input_is_one_line(
    repository: Path, capsys: pytest.CaptureFixture[str], prepare: Callable[[Path], list[str]], said: str
) -> None:
    assert command.main([*GATE, *prepare(repository)]) == 4
    assert said in one_line(capsys)


def test_outside_of_a_repository_there_is_nothing_to_compare(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main([*GATE, "--base", "main"]) == 4
    assert "not a git repository" in one_line(capsys)
    monkeypatch.chdir(repository)


@pytest.mark.parametrize(
    "arguments", [[], ["--base", "main", "--tolerance", "0"], ["--base", "main", "--minutes", "-1"]]
)
def test_options_that_cannot_be_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 4
    assert "error: " in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_gate_that_is_killed_leaves_nothing(repository: Path, tmp_path: Path, number: str) -> None:
    report = repository / "gate.json"
    arguments = ["--base", "main", *GATE, "--only", "times", "--json", str(report)]
    command = [sys.executable, "-m", "rnn_parity.judge.cli", "gate", *arguments]
    # What runs in the background of a shell ignores SIGINT, and so would the gate.
    gate = subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # type: ignore[arg-type]
    children = wait_for(lambda: started(gate.pid))
    os.kill(gate.pid, getattr(signal, number))
    gate.wait(20)
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))
    wait_for(lambda: not list((tmp_path / "temporary").glob("rnn-parity-gate-*")))
    assert not report.exists()


def started(pid: int) -> list[psutil.Process]:
    """The children of a gate, once one of them counts or measures."""
    children = psutil.Process(pid).children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since, as pip's do
        return children if any("rnn_parity.bench.gate.counts" in child.cmdline() for child in children) else []
    return []


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in a minute")


@pytest.mark.skipif(exact.shutil.which("valgrind") is None, reason="valgrind is not installed")
@pytest.mark.slow
def test_instructions_are_counted(repository: Path) -> None:
    assert command.main(["--write-counts", *GATE[:2]]) == 0
    cells = exact.read_accepted(repository / "gate-counts.json")
    assert cells["gru=my_layers:MyGRU forward B10 T30 I5 H8"]["instructions"] > 1e6
