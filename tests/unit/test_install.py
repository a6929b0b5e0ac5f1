"""The command, as a user types it, and what is left without the extras."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import rnn_parity.judge
from rnn_parity.bench.versions import SHOWN, page
from rnn_parity.judge import cli

NAMESPACE = Path(rnn_parity.judge.__file__).parents[2]
QUICK = ("--parity-device=cpu", "--parity-dtype=float64", "--parity-examples=1", "-k", "forward")

LAYERS = """
import torch

class MyGRU(torch.nn.GRU):
    pass

class Scaled(torch.nn.GRU):
    def forward(self, input, hx=None):
        output, h_n = super().forward(input, hx)
        return 1.001 * output, h_n
"""

WITHOUT_EXTRAS = """
import sys

EXTRA = "cpuinfo cyclopts matplotlib platformdirs pooch pytest_benchmark sklearn torchvision".split()

class Nothing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in EXTRA:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nothing)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a user has: a folder with a file of layers, and settings of pytest that are none of ours."""
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "pytest.ini").write_text("[pytest]\naddopts = --option-of-a-plugin\n")
    (tmp_path / "user" / "my_layers.py").write_text(LAYERS)
    return tmp_path / "user"


def run(*arguments: str, cwd: Path, first_on_path: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, [*first_on_path, NAMESPACE]))
    return subprocess.run(
        [sys.executable, "-m", "rnn_parity.judge.cli", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_a_wrong_layer_of_this_folder_is_found_out(folder: Path) -> None:
    result = run("judge", "gru=my_layers:Scaled", *QUICK, cwd=folder)
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout + result.stderr
    assert "my_layers:Scaled is not the GRU of the equations: output is off by" in result.stdout
    assert "from my_layers import Scaled as Candidate" in result.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["my_layers.py", "pytest.ini"]


def test_judging_needs_no_extra(folder: Path) -> None:
    without = folder.parent / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text(WITHOUT_EXTRAS)
    result = run("judge", "my_layers:MyGRU", *QUICK, cwd=folder, first_on_path=[without])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "my_layers:MyGRU" in result.stdout.splitlines()[-4]
    assert len(result.stdout.splitlines()) < 15


@pytest.mark.parametrize(("package", "command"), [("tasks", ("tasks",)), ("bench", ("bench", "--out", "times"))])
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    package: str, command: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, f"rnn_parity.{package}", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(command) == pytest.ExitCode.USAGE_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert "matplotlib" in line
    assert line.endswith(f"pip install 'rnn-parity[{package}]'")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["jugde"], "expected judge, merge, tasks, bench, gate, history, --help or --version, got 'jugde'"),
        (["judge", "my_layers.py"], "expected [KIND=]MODULE:CLASS, such as gru=my_layers:MyGRU, got 'my_layers.py'"),
        (["judge", "my_layers:Net"], "expected rnn=my_layers:Net or gru=my_layers:Net or lstm=my_layers:Net, got"),
        (["judge", "my_layers:GRUOrLSTM", "-q"], "lstm=my_layers:GRUOrLSTM, got 'my_layers:GRUOrLSTM'"),
        (["tasks", "helo"], "expected a task, one of hello, mlp, "),
    ],
)
def test_what_is_not_understood_is_said_in_one_line(
    arguments: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == pytest.ExitCode.USAGE_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("my_layers:MyGRU", "gru"),
        ("my_layers:lstm_of_mine", "lstm"),
        ("gru_kernels.fast:IndRNN", "rnn"),
        ("lstm=my_layers:MyGRU", "lstm"),
    ],
)
def test_the_kind_is_what_is_said_or_what_the_class_is_called(layer: str, kind: str) -> None:
    assert cli.implementation(layer) == f"{kind}={layer.rpartition('=')[2]}"


def test_options_of_pytest_are_never_taken_for_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(pytest, "main", given.extend)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", "")
    cli.main(["judge", "rnn=a.b:C", "my_layers:MyLSTM", "-p", "no:randomly", "--parity-device", "cuda:0"])
    assert given[given.index("--parity-implementation") :] == [
        *("--parity-implementation", "rnn=a.b:C", "--parity-implementation", "lstm=my_layers:MyLSTM"),
        *("-p", "no:randomly", "--parity-device", "cuda:0"),
    ]


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == cli.main(["judge", "--help"]) == cli.main([]) == 0
    assert capsys.readouterr().out.count("rnn-parity judge gru=my_layers:MyGRU") == 3
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("rnn-parity 0.")


def test_the_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tasks"]) == 0
    assert "ohlol" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "option"), [(("tasks", "hello"), "--epochs"), (("bench",), "--seconds")])
def test_tasks_and_benchmarks_take_their_own_options(command: Sequence[str], option: str, tmp_path: Path) -> None:
    result = run(*command, "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert option in result.stdout


def test_the_page_of_versions_says_what_failed_and_where() -> None:
    versions = dict.fromkeys(SHOWN, "2.0") | {"torch": "2.15.0+cu132", "torchvision": "0.29.2"}
    fine = {"passed": 1200, "failed": [], "skipped": 3, "seconds": 60}
    result = {"versions": versions, "unit": fine}
    wrong = fine | {"failed": ["test_layers::test_copies"], "passed": 9}
    lines = page({"2.15": result | {"conformance": wrong}}).splitlines()
    assert lines[lines.index("| --- " * 11 + "|") + 1] == (
        "| 2.15 | 2.15.0 | 0.29.2 | 2.0 | 2.0 | 2.0 | 2.0 | 2.0 | 1,200 passed, 3 skipped "
        "| 1 failed, 9 passed, 3 skipped | 120 |"
    )
    assert "- 2.15: `test_layers::test_copies`" in lines
