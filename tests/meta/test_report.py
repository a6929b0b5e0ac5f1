"""What a run leaves behind, as a user meets it: the report, its programs, the summary, the line on a terminal."""

import contextlib
import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from rnn_parity.judge.plugin.progress import wanted
from rnn_parity.tests.meta.test_plugin import QUICK, layers

assert layers  # a fixture

WRONG = ("--parity-implementation=gru=my_layers:Wrong", "-k", "forward or layouts")
SCHEMA = json.loads((files("rnn_parity.judge.page") / "verdicts.schema.json").read_text())


@pytest.mark.usefixtures("layers")
def test_a_report_has_the_verdicts_and_programs_that_fail(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    result = pytester.runpytest_subprocess(
        *QUICK, *WRONG, "-n", "2", "--parity-report=out/report", "--parity-json=v.json"
    )
    assert result.stderr.lines == []  # where there is no terminal, there is no line of progress
    assert result.ret == 1
    said = "Wrong in my_layers fails 2 of 2 aspects; first: `python out/report/reproducer_1.py`"
    result.stdout.fnmatch_lines(["report: out/report/index.html", said])

    folder = pytester.path / "out" / "report"
    judged = json.loads((folder / "verdicts.json").read_text())
    texts = dict.fromkeys(failure["reproducer"] for failure in judged["verdicts"][0]["failures"])
    programs = [f"reproducer_{number}.py" for number in range(1, len(texts) + 1)]
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", *programs, "verdicts.json"]
    assert judged == json.loads((pytester.path / "v.json").read_text())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(judged)
    (verdict,) = judged["verdicts"]
    for measured in verdict["measured"].values():
        assert sum(measured["ratios"]) == measured["tensors"] > 0
        assert sum(measured["ratios"][9:]) > 0  # over the bound
    assert "Wrong in my_layers fails 2 of 2 aspects." in (folder / "index.html").read_text()

    summary = (pytester.path / "summary.md").read_text()
    assert summary.count("Wrong in my_layers fails 2 of 2 aspects.") == 1
    for program in programs:
        ran = subprocess.run(
            [sys.executable, f"out/report/{program}"], cwd=pytester.path, capture_output=True, text=True
        )
        assert ran.returncode == 1
        assert re.search(r"AssertionError: \S+ is off by", ran.stderr)  # which tensor, the shrinking decides


@pytest.mark.usefixtures("layers")
def test_without_a_report_the_aspect_is_named(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*QUICK, *WRONG)
    result.stdout.fnmatch_lines(
        ["Wrong in my_layers fails 2 of 2 aspects; first: forward; --parity-report FOLDER writes its reproducer"]
    )


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("my_layers.py", "--parity-report must be a folder, got the file my_layers.py"),
        (
            "my_layers.py/report",
            "--parity-report must be a folder that can be written, got my_layers.py/report: Not a directory",
        ),
    ],
)
def test_a_report_that_cannot_be_written_is_said_before_anything_is_judged(
    pytester: pytest.Pytester, folder: str, says: str
) -> None:
    result = pytester.runpytest_inprocess(*QUICK, *WRONG, f"--parity-report={folder}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert [line for line in result.stderr.lines if line] == [f"ERROR: {says}"]
    result.stdout.no_fnmatch_line("*FAIL*")


def on_a_terminal(command: list[str], folder: Path) -> tuple[str, str]:
    """Return what a command says on standard error, a terminal, and what it writes to standard output, a file."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 110))
    said = b""
    with (folder / "output").open("wb") as output, subprocess.Popen(command, cwd=folder, stdout=output, stderr=theirs):
        os.close(theirs)
        with contextlib.suppress(OSError):  # what Linux calls the end of it
            while read := os.read(ours, 4096):
                said += read
    os.close(ours)
    return said.decode(), (folder / "output").read_text()


@pytest.mark.usefixtures("layers")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
@pytest.mark.parametrize(("options", "shows"), [(["-q", "--parity-progress"], True), (["-q"], False)])
def test_a_line_on_a_terminal_says_how_far_it_is(pytester: pytest.Pytester, options: list[str], shows: bool) -> None:
    said, written = on_a_terminal([sys.executable, "-m", "pytest", *QUICK, *WRONG, *options], pytester.path)
    assert ("my_layers:Wrong layouts, float64 on cpu: 1 of 2 tests, 1 FAIL, " in said) is shows
    assert ("cases a second, " in said) is shows
    assert ("FF" in written) is not shows


@pytest.mark.parametrize(
    ("options", "shows"),
    [
        ("", True),
        ("-q", False),
        ("--parity-progress", True),
        ("-q --parity-progress", True),
        ("-qq --parity-progress", False),
        ("-v", False),
    ],
)
def test_quiet_is_quiet(pytester: pytest.Pytester, options: str, shows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert wanted(pytester.parseconfig(*options.split())) is shows


def test_the_schema_is_shipped_beside_the_code() -> None:
    assert SCHEMA["properties"]["version"] == {"const": 1}
    assert Path(str(files("rnn_parity.judge.page") / "templates" / "page.html.j2")).is_file()
