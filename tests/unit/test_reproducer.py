"""A reproducer computes in plain PyTorch what the judge computed, in 25 lines, and passes for a right layer."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnn_parity.bench.plain import PLAIN
from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.judge.core.strategies import cases
from rnn_parity.judge.core.verdict import Finding, Verdict, case_bounds
from rnn_parity.judge.programs.misbehaviour import misbehaving
from rnn_parity.judge.programs.snippets import MOST_LINES, WIDEST, shortest
from rnn_parity.judge.trials.reproducer import fails, forms, plain
from rnn_parity.judge.trials.search import Trial
from rnn_parity.judge.trials.table import TRIALS
from rnn_parity.reference import LayerSpec
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.tests.unit.test_running import CASE, WRONG

RIGHT = [*LAYERS.items(), *PLAIN.items()]


def passes(program: str) -> dict[str, Any]:
    """Run a program of at most 25 lines, and return its variables."""
    lines = program.splitlines()
    assert len(lines) <= MOST_LINES, program
    assert max(map(len, lines)) <= WIDEST, program
    assert "rnn_parity.judge" not in program
    names: dict[str, Any] = {}
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # oneDNN has no projections, and says so once
        try:
            exec(program, names)
        except AssertionError as error:
            raise AssertionError(program) from error
    return names


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("kind", "layer"), RIGHT, ids=str)
def test_its_tensors_are_those_of_the_judge(kind: str, layer: type[torch.nn.Module], dtype: torch.dtype) -> None:
    implementation = implementation_from(layer, kind)

    @settings(suppress_health_check=list(HealthCheck), max_examples=12)
    @given(cases(implementation, dtype), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        limits = {name: bound for name, bound in case_bounds(case).items() if bound.determined}
        if limits:
            tensor = data.draw(st.sampled_from(sorted(limits)))
            passes(plain(Verdict(implementation, case, [Finding(tensor, 1.0, 2 * limits[tensor].limit)])))

    check()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("trial", TRIALS, ids=repr)
def test_every_form_of_a_trial_passes_for_a_right_layer(trial: Trial, kind: str) -> None:
    implementation = implementation_from(PLAIN[kind], kind)
    if not trial.applies_to(implementation, torch.float64, "cpu"):
        pytest.skip("asked only of layers that draw dropout like the built-in")

    @settings(suppress_health_check=list(HealthCheck), max_examples=3)
    @given(cases(implementation, torch.float64, "cpu", trial.vary, (None,), **trial.fixed).map(trial.adapt), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        verdict = trial.check(implementation, case)
        if verdict.findings:
            found = data.draw(st.sampled_from(verdict.findings))
            # The simplest form holds the layer to torch.nn, which is itself off by as much.
            for program in forms(verdict.case, implementation, replace(found, limit=2 * found.limit), trial.check):
                passes(program)

    check()


@pytest.mark.parametrize(("change", "case", "says"), WRONG, ids=lambda part: part[:30] if isinstance(part, str) else "")
def test_misbehaviour_is_shown_and_a_right_layer_passes(change: Callable[..., Any], case: Case, says: str) -> None:
    class Changed(torch.nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            return change(self, input, hx, super().forward)

    wrong, right = implementation_from(Changed, "gru"), implementation_from(PLAIN["gru"], "gru")
    text = judge(wrong, case).misbehaviour or ""
    beginning = text.split(", got")[0].split(" from ")[0].split(" changed")[0]
    shown = [k for k, program in enumerate(misbehaving(case, wrong, text)) if fails(program, text, wrong)]
    shown = shown or [k for k, p in enumerate(misbehaving(case, wrong, text)) if fails(p, beginning, wrong)]
    assert shown, text
    passes(misbehaving(case, right, text)[shown[0]])


def test_an_implementation_without_an_import_leaves_a_place_for_one() -> None:
    def local(*args: Any, **options: Any) -> torch.nn.Module:
        return torch.nn.GRU(*args, **options)

    case = Case(LayerSpec("gru", 1, 1), torch.float64, "cpu", 1, 1, seed=0)
    program = plain(Verdict(implementation_from(local, "gru"), case, [Finding("output", 1.0, 0.5)]))
    assert "Candidate = ...  # the layer under judgement" in program


def test_a_layer_that_ends_its_process_is_only_called() -> None:
    verdict = Verdict(implementation_from(PLAIN["gru"], "gru"), CASE, misbehaviour="forward did not return within 60 s")
    assert plain(verdict).endswith("result(candidate)  # forward did not return within 60 s")


@pytest.mark.parametrize(
    "lengths",
    [(3, 1, 2), (7,) * 200, (9,) * 80 + (4,) * 50, ((1, 2, 3, 4, 5) * 40)[:198], (1, 2) * 60 + (8, 2) + (1, 2) * 9],
)
def test_lengths_of_a_large_batch_are_written_short(lengths: tuple[int, ...]) -> None:
    text = shortest(lengths)
    assert eval(text) == list(lengths)
    assert len(text) < 60
