"""The score: what it writes, and when it fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnn_parity.bench.plain import PLAIN
from rnn_parity.judge import ParityError
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.judge.core.misbehaviour import Raised
from rnn_parity.judge.core.verdict import Verdict
from rnn_parity.reference import LayerSpec
from rnn_parity.tests.meta import score

CAUGHT = score.Hunt("z flipped", "gru", 0, "forward: equations", cases=3, seconds=0.5, lines=20)
SLOW = score.Hunt("z flipped", "gru", 1, "state: given", cases=9, seconds=2.5, lines=18)
MISSED = score.Hunt("no tanh", "gru", 0, cases=1200, seconds=9.0)
WITHOUT_PROOF = score.Hunt("no tanh", "gru", 1, "state: given", 9, 1.0, 18, fault="the reproducer passes")


def test_a_hunt_ends_with_both_files_and_the_summary(tmp_path: Path) -> None:
    options = ["--only", "z flipped", "--seeds", "0", "--jobs", "1", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "rnn_parity.tests.meta.score", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "caught with every seed: 1" in done.stdout.splitlines()
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".jsonl", ".md"]
    (row,) = json.loads((tmp_path / "out" / "score.json").read_text())["pairs"]
    assert (row["defect"], row["layer"], row["caught"], row["by"]) == ("z flipped", "gru", "yes", "forward: equations")


def test_the_table_holds_the_worst_of_the_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "hunted", lambda *_: [CAUGHT, SLOW])
    assert score.main(["--out", str(tmp_path)]) == 0
    of = (
        "| z flipped | gru | known-defects: z against 1-z | yes | forward: equations, state: given | 9 | 2.5 | 20 | 2 |"
    )
    assert of in (tmp_path / "score.md").read_text().splitlines()


@pytest.mark.parametrize(
    ("failed", "says"),
    [(MISSED, "no tanh in gru, seed 0: missed"), (WITHOUT_PROOF, "no tanh in gru, seed 1: the reproducer passes")],
)
def test_what_is_missed_fails_the_run_and_is_named(
    failed: score.Hunt,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(score, "hunted", lambda *_: [CAUGHT, failed])
    assert score.main(["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.strip() == says
    assert "| no tanh | gru | near known-defects: h without tanh | NO (" in (tmp_path / "score.md").read_text()


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [("z flipped", "gru", seed) for seed in (0, 1)]
    monkeypatch.setattr(score, "hunts", lambda *_: iter([CAUGHT]))
    assert score.hunted(tmp_path, wanted[:1], jobs=1) == [CAUGHT]
    (log,) = tmp_path.iterdir()
    log.write_text(log.read_text() + '\n{"defect": "half writ')
    asked = []
    monkeypatch.setattr(score, "hunts", lambda left, jobs: asked.extend(left) or iter([SLOW]))
    assert score.hunted(tmp_path, wanted, jobs=1) == [CAUGHT, SLOW]
    assert asked == wanted[1:]


def test_a_right_layer_is_found_out_by_nothing() -> None:
    trial, error, cases = score.first_verdict(PLAIN["gru"], examples=1, aspects=("forward", "state"))
    assert (trial, error) == (None, None)
    assert cases > 0


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("assert False", None),
        ("raise RuntimeError('no kernel')", None),
        ("pass", "the reproducer passes"),
        ("raise ValueError('of another kind')", "the reproducer raised ValueError: of another kind"),
    ],
)
def test_a_reproducer_fails_as_the_verdict_says(program: str, says: str | None) -> None:
    case = Case(LayerSpec("gru", 1, 1), torch.float64, "cpu", 1, 1, seed=0)
    verdict = Verdict(implementation_from(PLAIN["gru"], "gru"), case)
    verdict.misbehaviour = Raised("forward", "RuntimeError", "no kernel")
    assert score.reproduced(ParityError(verdict, program)) == says


def test_a_name_that_is_no_defects_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        score.main(["--only", "no such defect"])
    assert ended.value.code == 2
    assert "got 'no such defect'" in capsys.readouterr().err
