"""README and docs: their figures are those of the results, their code runs, their links lead somewhere."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from inspect import getdoc
from pathlib import Path
from typing import Any

import pytest

from rnn_parity import manual
from rnn_parity.bench import figures, pictures
from rnn_parity.bench.figures import Figures, FiguresError, code_with, excerpt, filled, pages
from rnn_parity.judge import assert_parity

VERDICT = {"kind": "gru", "dtype": "float64", "verdict": "passed", "aspects": {"forward": "passed"}}


def timing(kind: str, T: int, fused: float) -> dict[str, Any]:
    shape = {"B": 64, "T": T, "I": 28, "H": 64}
    arm = {"low": fused, "high": fused, "seconds": 1e-3, "peak_bytes": 8}
    return {
        "setting": {"kind": kind, "shape": shape, "dtype": "float32", "name": kind},
        "step": "training",
        "threads": 1,
        "limit": {"multiply_adds": 1e6, "seconds": 2e-4},
        "arms": {"builtin": {**arm, "median": 1.0}, "fused": {**arm, "median": fused}},
        "left_out": {},
    }


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project with results and a page, in which the command runs."""
    machine = {"cpu": "x", "gpu": None, "cores": 2}
    arms = {"flat": {"median": 1, "low": 1, "high": 1}, "seconds": [1, 2], "peak_bytes": [1, 2], "bytes_per_step": 1}
    arms |= {"ratio": [arms["flat"]] * 2}
    speed = {
        "machine": machine,
        "versions": {"torch": "2", "python": "3"},
        "date": "2026-01-02T00:00",
        "device": "cpu",
        "threads": [1],
        "epoch": None,
        "timings": [*(timing(kind, 28, 0.5) for kind in ("RNN", "GRU", "LSTM")), timing("RNN", 4, 1.1)],
        "long": [
            {
                **{"setting": "RNN", "sizes": [1, 2, 3], "steps": [2, 4], "limit_seconds": [1e-3, 2e-3]},
                "arms": {"builtin": arms},
            }
        ],
    }
    results = tmp_path / "bench" / "results"
    results.mkdir(parents=True)
    (results / "2026-01-02-cpu.json").write_text(json.dumps(speed))
    (results / "2025-12-31-cpu.json").write_text("{}")
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr(figures, "PICTURES", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_is_filled_in_from_the_newest_results_and_checked(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = root / "README.md"
    page.write_text("from <!-- figures: {speed[fused RNN training]} -->?<!-- end -->\n")
    assert figures.main(["--check"]) == 1
    assert "+from <!-- figures: {speed[fused RNN training]} -->0.50 to 1.10<!-- end -->" in capsys.readouterr().err
    assert "?" in page.read_text()
    assert figures.main([]) == figures.main(["--check"]) == 0
    assert "-->0.50 to 1.10<!-- end -->" in page.read_text()
    page.write_text(page.read_text().replace("1.10", "1.00"))
    assert figures.main(["--check"]) == 1


def test_a_block_stands_between_empty_lines(root: Path) -> None:
    page = "<!-- figures: {speed.rows} -->\n<!-- end -->"
    assert "-->\n\n| a training step, 1 thread |" in filled(page, Figures(root))
    assert filled(filled(page, Figures(root)), Figures(root)) == filled(page, Figures(root))


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("of <!-- figures: {score.caught} -->1<!-- end -->", "expected bench/results/DATE-score-cpu.json, found none"),
        ("of <!-- figures: {speed.height} -->1<!-- end -->", "no attribute 'height'"),
        ("of <!-- figures: {weather} -->1<!-- end -->", "KeyError: 'weather'"),
        ("of <!-- figures: {speed[fused GRU packed training]} -->1<!-- end -->", "expected ARM SETTING STEP"),
        ("<!-- figures: {speed.day} -->1", "to have its <!-- end -->"),
        ("on\n<!-- figures: {speed.day} -->1<!-- end -->", "expected a figure within a line"),
    ],
)
def test_a_page_that_cannot_be_filled_in_is_one_line(
    root: Path, capsys: pytest.CaptureFixture[str], page: str, problem: str
) -> None:
    (root / "README.md").write_text(page)
    with pytest.raises(FiguresError, match=re.escape(problem)):
        filled(page, Figures(root))
    assert figures.main(["--check"]) == figures.main([]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all(line.startswith("README.md: ") and problem in line for line in said)
    assert (root / "README.md").read_text() == page


def test_an_excerpt_shows_where_lines_are_left_out() -> None:
    lines = list("abcdefg")
    assert excerpt(lines, "b+1 / -2") == ["b", "c", "...", "f", "g"]
    assert excerpt(lines, "b / c") == ["b", "c"]
    assert excerpt(lines, "-9") == lines
    with pytest.raises(FiguresError, match="a line that holds 'x'"):
        excerpt(lines, "x")


def test_a_picture_of_other_results_is_stale(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = root / "bench" / "results" / "2026-01-02-verdicts-cpu.json"
    right = {**VERDICT, "implementation": "torch.nn:GRU", "worst": {"ratio": 0.5}}
    wrong = {**VERDICT, "implementation": "m:GRU", "worst": None, "verdict": "failed", "aspects": {"forward": "failed"}}
    source.write_text(json.dumps({"verdicts": [right, wrong]}))
    for module in (pictures, figures):
        monkeypatch.setattr(module, "PICTURES", {"parity.png": ("verdicts-cpu", pictures.verdicts)})
    assert pictures.main() == 0
    assert list(figures.stale_pictures(root)) == []
    source.write_text(json.dumps({"verdicts": [right]}))
    assert list(figures.stale_pictures(root)) == [
        "docs/parity.png: not drawn from 2026-01-02-verdicts-cpu.json; run python -m rnn_parity.bench.pictures"
    ]


@pytest.fixture
def project(pytestconfig: pytest.Config) -> Path:
    """The checkout, whose pages are no part of the package."""
    if not (pytestconfig.rootpath / "docs" / "judging.md").exists():
        pytest.skip(f"no pages in {pytestconfig.rootpath}: not run from a checkout")
    return pytestconfig.rootpath


def test_the_readme_is_short(project: Path) -> None:
    assert len((project / "README.md").read_text(encoding="utf-8")) <= 6000


def test_the_readme_s_manual_gru_equals_the_built_in(project: Path) -> None:
    exec(code_with("manual.GRU", project / "README.md"), {})


@pytest.mark.parametrize("cell", [manual.rnn_cell, manual.gru_cell, manual.lstm_cell])
def test_the_readme_s_equations_are_those_of_the_cells(project: Path, cell: Callable[..., Any]) -> None:
    [row] = [line for line in (project / "README.md").read_text().splitlines() if f"`{cell.__name__}`" in line]
    equations = re.findall(r"`(\w+ = [^`]*)`", row)
    documented = (getdoc(cell) or "").splitlines()
    assert equations
    assert [line for line in equations if not any(text.startswith(line) for text in documented)] == []


@pytest.mark.parametrize(("name", "line"), [("gru", 'gru = layer("gru", run'), ("adapter", "adapter = Adapter()")])
def test_the_docs_adapters_are_right(name: str, line: str, project: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(code_with(line, project / "docs" / "adapters.md"), names)
    assert_parity(names[name], "gru", aspects=("forward", "state", "layouts"), examples=1)


def test_the_docs_list_every_option(project: Path) -> None:
    said = subprocess.run([sys.executable, "-m", "pytest", "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"--parity-[a-z]+", said))
    listed = re.findall(r"^\| `(--parity-[a-z]+)", (project / "docs" / "judging.md").read_text(), re.MULTILINE)
    assert options == set(listed)


def test_every_link_leads_to_a_file(project: Path) -> None:
    missing = [
        f"{page.name}: {target}"
        for page in [*pages(project), project / "CONTRIBUTING.md"]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", page.read_text(encoding="utf-8"))
        for target in filter(None, target)
        if not (page.parent / target).exists()
    ]
    assert missing == []
