"""What is left of verdicts: their sum, the sentence, several files merged, the summary, the sections of the page."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rnn_parity.judge import cli, page
from rnn_parity.judge.core.results import EDGES, FAILED, PASSED, UNSUPPORTED, bin_of
from rnn_parity.judge.page import verdicts
from rnn_parity.judge.page.others import found_in
from rnn_parity.judge.page.said import action, command_line, sentence
from rnn_parity.judge.page.sections import sections
from rnn_parity.judge.page.summary import append_summary
from rnn_parity.judge.page.verdicts import Document, NotVerdicts
from rnn_parity.judge.page.writing import programs_in, write_report
from rnn_parity.tests.browser import records


def record(aspect: str = "forward", result: str = PASSED, **changes: Any) -> dict[str, Any]:
    """Return what the plugin keeps of one test."""
    wrong = result == FAILED
    return {
        **{"implementation": "my_layers:MyGRU", "kind": "gru", "device": "cpu", "dtype": "float64"},
        **{"aspect": aspect, "trial": "equations", "dialect": [], "result": result, "reason": None},
        **{"cases": 5, "tensors": 2, "undetermined": 1, "ratios": [0] * 8 + [2] + [0] * 9},
        "worst": {"tensor": "output", "error": 1.0, "limit": 2.0, "ratio": 0.5},
        "message": f"{aspect} is off" if wrong else None,
        "reproducer": f"assert False, {aspect!r}" if wrong else None,
        **changes,
    }


def document(*of: dict[str, Any], **header: Any) -> Document:
    """Return the document of a run."""
    added = verdicts.added_up(map(verdicts.of_record, of))
    return {"version": verdicts.VERSION, "header": records.HEADER | header, "verdicts": added}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """What two jobs leave: one that is right, and one of another seed and PyTorch that is not."""
    worst = {"tensor": "h_n", "error": float("inf"), "limit": 0.0, "ratio": float("inf")}
    right = document(record(), record("packed"))
    wrong = document(record(result=FAILED, worst=worst), record("state", FAILED), seed=7, torch="2.1")
    paths = [tmp_path / "right.json", tmp_path / "wrong.json"]
    for path, each in zip(paths, (right, wrong), strict=True):
        verdicts.write(path, each)
    return paths


def test_a_ratio_of_one_is_within_the_bound() -> None:
    middle = EDGES.index(1.0)
    assert bin_of(1.0) == bin_of(0.5) == middle
    assert bin_of(1.0000001) == middle + 1
    assert (bin_of(0.0), bin_of(float("inf"))) == (0, len(EDGES))


def test_counts_add_up_and_one_failure_is_one_of_all() -> None:
    (verdict,) = document(record(), record(result=FAILED), record("packed", UNSUPPORTED, reason="no"))["verdicts"]
    assert verdict["verdict"] == FAILED
    assert verdict["aspects"] == {"forward": FAILED, "packed": UNSUPPORTED}
    assert verdict["trials"]["forward"] == {PASSED: 1, FAILED: 1}
    assert verdict["measured"]["forward"]["cases"] == 10
    assert sum(verdict["measured"]["forward"]["ratios"]) == verdict["measured"]["forward"]["tensors"] == 4
    assert verdict["reasons"] == ["no"]


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ([record()], "MyGRU in my_layers is right in the one aspect that was asked."),
        (
            [record(), record("state"), record("packed", UNSUPPORTED)],
            "MyGRU in my_layers is right in all 2 aspects that were asked; not supported: packed.",
        ),
        ([record(), record("state", FAILED)], "MyGRU in my_layers fails 1 of 2 aspects."),
        (
            [record(), record(result=FAILED, implementation="of mine")],
            "1 of 2 layers is wrong: of mine (gru) fails 1 of 1 aspect.",
        ),
        ([record(result="error")], "The judge came to no verdict on MyGRU in my_layers in forward."),
        ([record(result=UNSUPPORTED)], "Nothing was judged."),
    ],
)
def test_the_answer_is_one_sentence(of: list[dict[str, Any]], said: str) -> None:
    assert sentence(document(*of)["verdicts"]) == said


def test_the_line_to_act_on_names_a_program_where_there_is_one(tmp_path: Path) -> None:
    found = document(record(), record("state", FAILED), record(result=FAILED, implementation="b:B"))["verdicts"]
    program = tmp_path / "reproducer_1.py"
    said = "MyGRU in my_layers fails 1 of 2 aspects (1 other layer fails too); first: "
    assert action(found, programs_in(tmp_path, found)) == f"{said}`python {program}`"
    assert action(found, {}) == f"{said}state; --parity-report FOLDER writes its reproducer"
    assert action(document(record())["verdicts"], {}) is None


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["/a/bin/python", "/a/bin/rnn-parity", "judge", "-k", "a b"], "rnn-parity judge -k 'a b'"),
        (["/a/bin/python", "-m", "pytest", "-q"], "python -m pytest -q"),
        (["python", "judge.py"], "python judge.py"),
    ],
)
def test_the_command_is_as_it_is_typed(arguments: list[str], command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", arguments)
    assert command_line() == command


def test_merged_runs_add_up_and_a_failure_anywhere_fails(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["merge", *map(str, files), "--report", str(tmp_path / "all"), "--json", str(tmp_path / "all.json")]
    assert cli.main(asked) == pytest.ExitCode.TESTS_FAILED
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["2 runs, seeds 0, 7", "the runs differ in torch: 2.0, 2.1"]
    assert said[-1] == (
        f"MyGRU in my_layers fails 2 of 3 aspects; first: `python {tmp_path / 'all' / 'reproducer_1.py'}`"
    )
    merged = verdicts.read(tmp_path / "all.json")
    (verdict,) = merged["verdicts"]
    assert verdict["cases"] == 20
    assert verdict["trials"]["forward"] == {PASSED: 1, FAILED: 1}
    assert verdict["measured"]["forward"]["ratios"][8] == 4
    assert verdict["worst"]["ratio"] == float("inf")
    assert [run["seed"] for run in merged["runs"]] == [0, 7]
    shown = (tmp_path / "all" / "index.html").read_text()
    assert "MyGRU in my_layers fails 2 of 3 aspects." in shown
    assert "The runs differ in torch." in shown
    assert verdicts.merged([merged, verdicts.read(files[0])])["verdicts"][0]["cases"] == 30


def test_a_merge_of_what_is_right_is_right(files: list[Path], tmp_path: Path) -> None:
    assert cli.main(["merge", str(files[0]), str(files[0]), "--json", str(tmp_path / "all.json")]) == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "expected a file of verdicts, got bad.json: No such file or directory"),
        ("not JSON", "expected a file that --parity-json wrote, got bad.json"),
        ("[]", "expected a file that --parity-json wrote, got bad.json"),
        ('{"version": 1, "header": {}, "verdicts": []}', "expected a file that --parity-json wrote, got bad.json"),
        ('{"version": 2}', "expected version 1 or older, got version 2 in bad.json"),
    ],
)
def test_what_cannot_be_merged_is_said_in_one_line(
    content: str | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("bad.json").write_text(content)
    assert cli.main(["merge", "bad.json", "--report", "all"]) == pytest.ExitCode.USAGE_ERROR
    assert capsys.readouterr().err.splitlines() == [f"rnn-parity: merge: {says}"]
    assert not list(Path("all").glob("*"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "expected --report FOLDER, --json FILE or both, got neither"),
        (("--report", "right.json"), "--report must be a folder, got the file right.json"),
        (("--report", "right.json/all"), "--report must be a folder that can be written, got right.json/all: *"),
        (("--json", "right.json/all"), "--json must be a file that can be written, got right.json/all: *"),
        (("--jsn", "all"), "unrecognized arguments: --jsn"),
    ],
)
@pytest.mark.usefixtures("files")
def test_options_of_merge_that_cannot_be_followed_are_one_line(
    options: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["merge", "right.json", *options]) == pytest.ExitCode.USAGE_ERROR
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rnn-parity: merge: {says.rstrip('*')}")


def test_what_a_file_lacks_is_no_verdict(files: list[Path]) -> None:
    whole = json.loads(files[0].read_text())
    for key in whole["verdicts"][0].keys() - {"verdict", "aspects"}:  # which are made again of the others
        broken = copy.deepcopy(whole)
        del broken["verdicts"][0][key]
        files[0].write_text(json.dumps(broken))
        with pytest.raises(NotVerdicts, match="expected a file that --parity-json wrote"):
            verdicts.read(files[0])


def test_the_json_is_json(files: list[Path]) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    worst = json.loads(files[1].read_text(), parse_constant=refuse)["verdicts"][0]["worst"]
    assert worst == {"tensor": "h_n", "error": "Infinity", "limit": 0.0, "ratio": "Infinity"}


def test_a_report_leaves_no_program_of_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "reproducer_of_mine.py").write_text("")
    write_report(tmp_path, document(record(result=FAILED), record("state", FAILED)))
    write_report(tmp_path, document(record(result=FAILED)))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["index.html", "reproducer_1.py", "reproducer_of_mine.py", "verdicts.json"]


def test_the_summary_is_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    assert append_summary(document(record(), record("second_order", FAILED))) is None
    lines = file.read_text().splitlines()
    assert lines[:2] == ["before", "### MyGRU in my_layers fails 1 of 2 aspects."]
    assert "| layer | kind | forward | second order |" in lines
    assert "| my_layers:MyGRU | gru | pass | FAIL |" in lines
    assert lines[lines.index("```python") + 1] == "assert False, 'second_order'"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file / "below"))
    assert str(append_summary(document(record()))).startswith("GITHUB_STEP_SUMMARY must be a file that can be written")


def write_records(folder: Path, **of: Any) -> None:
    for name, content in of.items():
        (folder / name / "deeper").mkdir(parents=True)
        (folder / name / "deeper" / "record.json").write_text(json.dumps(content))


def test_sections_show_what_a_folder_holds(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    write_records(tmp_path, a=records.BENCH, b=records.training("builtin"), c=records.training("manual"), d=[1], e=None)
    write_records(tmp_path, f=records.GATE)
    (tmp_path / "half.json").write_text("{")
    found = {section.name: section for section in sections(found_in(tmp_path))}
    assert [len(section.figures) for section in found.values()] == [1, 1, 1, 0, 0]
    assert found["gate"].lines == [f"FINE: {records.HURTS}."]
    svg = found["tasks"].figures[0].svg
    assert svg.startswith("<svg")
    assert all(said in svg for said in ("currentColor", "var(--plot-1)", ">builtin<", ">manual<"))
    assert not any(drawn in svg for drawn in ("#01020", "<script", "http://www.w3.org/1999/02/22-rdf"))
    assert len(svg) < 30_000


def test_a_record_that_only_looks_like_one_spoils_nothing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    write_records(tmp_path, a=records.BENCH | {"timings": [{}]}, b=records.training("manual") | {"loss_per_step": []})
    write_records(tmp_path, c=records.GATE | {"timing": {"first": {"findings": {"a": {}}}, "second": None}})
    for section in sections(found_in(tmp_path))[:3]:
        (line,) = section.lines
        assert line.startswith("These results cannot be shown: ")


def test_without_matplotlib_the_sections_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_records(tmp_path, a=records.BENCH)
    monkeypatch.delitem(sys.modules, "rnn_parity.judge.page.plots", raising=False)
    monkeypatch.delattr(page, "plots", raising=False)
    monkeypatch.setitem(sys.modules, "rnn_parity.judge.page.svg", None)
    bench, *others = sections(found_in(tmp_path))
    assert bench.lines == ("There are results, and no Matplotlib to draw them: pip install matplotlib.",)
    assert [section.lines for section in others] == [(), (), (), ()]
