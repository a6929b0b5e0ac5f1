"""A reproducer computes in plain PyTorch what the judge computed, in 25 lines, and passes for a right layer."""

import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnn_parity.bench.plain import PLAIN
from rnn_parity.judge import ParityError, assert_parity
from rnn_parity.judge.checks.equations import EQUATIONS, judge
from rnn_parity.judge.core import misbehaviour as kinds
from rnn_parity.judge.core.candidate import Implementation, implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.judge.core.check import Check
from rnn_parity.judge.core.misbehaviour import Ended, Misbehaviour, Seeded, SharedMemory
from rnn_parity.judge.core.settings import SETTINGS
from rnn_parity.judge.core.strategies import cases
from rnn_parity.judge.core.verdict import Finding, Verdict, case_bounds
from rnn_parity.judge.programs import forms
from rnn_parity.judge.programs.misbehaviour import SETTING_CODE, misbehaving
from rnn_parity.judge.programs.parts import shortest
from rnn_parity.judge.programs.proof import outcome
from rnn_parity.judge.programs.rendering import MOST_LINES, WIDEST
from rnn_parity.judge.programs.writing import by
from rnn_parity.judge.trials.reproducer import replayed, reproducer
from rnn_parity.judge.trials.table import TRIALS
from rnn_parity.judge.trials.trial import Trial
from rnn_parity.reference import LayerSpec
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.tests.unit.test_running import CASE, PACKED, WRONG

RIGHT = [*LAYERS.items(), *PLAIN.items()]

SHARE = settings.default  # of the profile's examples, since each runs a program


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


def programs(implementation: Implementation, case: Case, finding: Finding, check: Check = EQUATIONS) -> Iterator[str]:
    """Return the programs that show a finding."""
    verdict = Verdict(implementation, case, [finding])
    return (program.text for program in check.programs(verdict, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("kind", "layer"), RIGHT, ids=str)
def test_its_tensors_are_those_of_the_judge(kind: str, layer: type[torch.nn.Module], dtype: torch.dtype) -> None:
    implementation = implementation_from(layer, kind)

    @settings(suppress_health_check=list(HealthCheck), max_examples=SHARE.max_examples * 3 // 10)
    @given(cases(implementation, dtype), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        limits = {name: bound for name, bound in case_bounds(case).items() if bound.determined}
        if limits:
            tensor = data.draw(st.sampled_from(sorted(limits)))
            finding = Finding(tensor, 5 * limits[tensor].limit, 2 * limits[tensor].limit)
            passes(next(programs(implementation, case, finding)))

    check()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("trial", TRIALS, ids=repr)
def test_every_form_of_a_trial_passes_for_a_right_layer(trial: Trial, kind: str) -> None:
    implementation = implementation_from(PLAIN[kind], kind)
    if not trial.applies_to(implementation, torch.float64, "cpu"):
        pytest.skip("asked only of layers that draw dropout like the built-in")

    @settings(suppress_health_check=list(HealthCheck), max_examples=max(1, SHARE.max_examples * 3 // 40))
    @given(cases(implementation, torch.float64, "cpu", trial.vary, (None,), **trial.fixed).map(trial.adapt), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        verdict = trial.check.verdict(implementation, case)
        if verdict.findings:
            found = data.draw(st.sampled_from(verdict.findings))
            limit = found.limit or case_bounds(verdict.case)[found.tensor].limit  # what repeats exactly needs none
            # The simplest form holds the layer to torch.nn, which is itself off by as much.
            wrong = replace(found, error=5 * limit or 1.0, limit=2 * limit)
            for program in programs(implementation, verdict.case, wrong, trial.check):
                passes(program)

    check()


def wrong_gru(change: Callable[..., Any]) -> Implementation:
    class Changed(torch.nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            return change(self, input, hx, super().forward)

    return implementation_from(Changed, "gru")


def assert_shown(wrong: Implementation, case: Case, seen: Misbehaviour) -> None:
    """Assert that a program shows the misbehaviour, and that all pass for a right layer."""
    assert any(outcome(program, wrong) is None for program in misbehaving(case, wrong, seen)), seen
    for program in misbehaving(case, implementation_from(PLAIN["gru"], "gru"), seen):
        passes(program.text)


@pytest.mark.parametrize(("change", "case", "says"), WRONG, ids=lambda part: part[:30] if isinstance(part, str) else "")
def test_misbehaviour_is_shown_and_a_right_layer_passes(change: Callable[..., Any], case: Case, says: str) -> None:
    wrong = wrong_gru(change)
    seen = judge(wrong, case).misbehaviour
    assert seen is not None
    assert_shown(wrong, case, seen)


def _fewer_parameters(self: Any, input: Any, hx: Any, forward: Any) -> Any:
    found = forward(input, hx)
    if hasattr(self, "bias_ih_l0"):
        self.register_parameter("other", torch.nn.Parameter(torch.zeros(1)))
    return found


def _last_step(self: Any, input: Any, hx: Any, forward: Any) -> Any:
    output, _ = forward(input, hx)
    return output, output[-1:]


def _state_of_packed(self: Any, input: Any, hx: Any, forward: Any) -> Any:
    output, h_n = forward(input, hx)
    return output, output.data[-len(h_n[0]) :][None]


def _python(*_: Any) -> None:
    random.seed(7)


def _numpy(*_: Any) -> None:
    np.random.seed(7)


def then(spoil: Callable[..., Any]) -> Callable[..., Any]:
    def change(self: Any, input: Any, hx: Any, forward: Any) -> Any:
        found = forward(input, hx)
        spoil(self)
        return found

    return change


def _thaw(self: torch.nn.GRU) -> None:
    self.bias_hh_l0.grad = torch.zeros_like(self.bias_hh_l0)


FROZEN = replace(CASE, frozen=("bias_hh_l0",))
MORE_WRONG: list[tuple[Any, Case, Misbehaviour]] = [
    (_last_step, CASE, SharedMemory("output", "h_n")),
    (_last_step, replace(CASE, cotangents=()), SharedMemory("h_n", "output")),
    (_state_of_packed, PACKED, SharedMemory("output", "h_n")),
    (then(_python), CASE, Seeded("Python's")),
    (then(_numpy), replace(CASE, modes=("train", "eval")), Seeded("NumPy's")),
    (then(_thaw), FROZEN, kinds.FrozenGradient("bias_hh_l0")),
    (_fewer_parameters, CASE, kinds.OtherParameters(["weight_ih_l0"], ["weight_ih_l0", "other"])),
    (then(lambda self: setattr(self.bias_hh_l0, "data", self.bias_hh_l0.data.float())), replace(CASE, cotangents=()),
     kinds.Reformed("parameter", "bias_hh_l0", [], [])),
    (then(lambda _: torch.manual_seed(0)), replace(CASE, dropout_seed=5),
     kinds.SettingChanged("forward", "random seed", None, None)),
    *(
        (then(lambda self, change=change: change()), CASE, kinds.SettingChanged("forward", name, None, None))
        for name, change in {
            "default dtype": lambda: torch.set_default_dtype(torch.float16),
            "number of threads": lambda: torch.set_num_threads(7),
            "random seed": lambda: torch.manual_seed(0),
            "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
        }.items()
    ),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize(
    ("change", "case", "seen"), MORE_WRONG, ids=lambda part: str(part) if isinstance(part, Misbehaviour) else ""
)
def test_more_misbehaviour_is_shown(change: Callable[..., Any], case: Case, seen: Misbehaviour) -> None:
    assert_shown(wrong_gru(change), case, seen)


class Adapter:
    """An adapter at fault in one part."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def from_builtin(self, builtin: torch.nn.Module) -> torch.nn.Module:
        if self.fault == "building it":
            raise OSError("no kernel")
        return builtin

    def gradients(self, layer: torch.nn.Module) -> Any:
        if self.fault == "gradients":
            raise OSError("no kernel")
        return {name: 0 if self.fault == "type" else p.grad for name, p in layer.named_parameters()}


@pytest.mark.parametrize("fault", ["building it", "gradients", "type"])
def test_a_fault_of_an_adapter_is_shown(fault: str) -> None:
    wrong = implementation_from(Adapter(fault), "gru")
    seen = judge(wrong, CASE).misbehaviour
    assert seen is not None
    assert any(outcome(program, wrong) is None for program in misbehaving(CASE, wrong, seen)), seen
    right = implementation_from(Adapter(""), "gru")
    assert all(outcome(program, right) == "" for program in misbehaving(CASE, right, seen))


def test_every_setting_that_is_watched_has_its_code() -> None:
    assert SETTINGS.keys() <= SETTING_CODE.keys()


@pytest.mark.parametrize(
    ("spoil", "shows"),
    [
        (_python, "random').seed("),
        (_numpy, "numpy').random.seed("),
        (lambda _: torch.manual_seed(0), "torch.initial_seed()"),
    ],
)
def test_a_fault_that_seeds_a_generator_gets_a_plain_program(spoil: Callable[..., Any], shows: str) -> None:
    with pytest.raises(ParityError) as caught:
        assert_parity(wrong_gru(then(spoil)), "gru", aspects="forward", examples=5)
    assert caught.value.plain
    assert shows in caught.value.reproducer
    assert "comes and goes" not in caught.value.reproducer


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(("planted", "came", "shown"), [
    (INF, lambda output: torch.where(output.isinf(), -output, output), True),
    (INF, lambda output: torch.where(output.isinf(), NAN, output), True),
    (NAN, lambda output: output.nan_to_num(nan=INF), True),
    (NAN, lambda output: output.nan_to_num(), True),
    (NAN, lambda output: output, False),
    (INF, lambda output: output, False),
])  # fmt: skip
def test_a_program_tells_nan_from_each_infinity(planted: float, came: Callable[..., Any], shown: bool) -> None:
    spec = LayerSpec("rnn", 1, 1, nonlinearity="relu")
    case = Case(spec, torch.float64, "cpu", 1, 1, seed=3, states="absent", nonfinite=("bias_ih_l0", 0, planted))

    class Changed(torch.nn.RNN):
        def forward(self, input: Any, hx: Any = None) -> Any:
            output, h_n = super().forward(input, hx)
            return came(output), h_n

    implementation = implementation_from(Changed, "rnn")
    (program, *_) = EQUATIONS.programs(Verdict(implementation, case, [Finding("output", INF, 1.0)]), 1)
    assert (outcome(program, implementation) is None) is shown


class ChangedOutput(torch.autograd.Function):
    """Doubles, and multiplies the gradient with what the output is by then."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        output = torch.tanh(x)
        ctx.kept = output.data  # not save_for_backward, which would see the change
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        return gradients[0] * (1 - ctx.kept**2)


@pytest.mark.parametrize(
    "case", [CASE, PACKED, replace(CASE, dtype=torch.float32)], ids=["padded", "packed", "float32"]
)
def test_a_result_changed_in_place_is_shown_and_right_layers_pass(case: Case) -> None:
    def silent(self: Any, input: Any, hx: Any, forward: Any) -> Any:
        output, h_n = forward(input, hx)
        if isinstance(output, torch.Tensor):
            return ChangedOutput.apply(output), h_n
        return torch.nn.utils.rnn.PackedSequence(ChangedOutput.apply(output.data), *output[1:]), h_n

    def noticed(self: Any, input: Any, hx: Any, forward: Any) -> Any:
        output, h_n = forward(input, hx)
        if isinstance(output, torch.Tensor):
            return output.tanh(), h_n
        return torch.nn.utils.rnn.PackedSequence(output.data.tanh(), *output[1:]), h_n

    finding, wrong = Finding("input.grad", 1.0, 1e-5), wrong_gru(silent)
    check = Check(judge, by(forms.changed_in_place(forms.the_output)))
    (program,) = check.programs(Verdict(wrong, case, [finding]), 1)
    assert outcome(program, wrong) is None
    assert outcome(program, wrong_gru(noticed)) == ""
    for layer in (torch.nn.GRU, PLAIN["gru"]):
        passes(*programs(implementation_from(layer, "gru"), case, finding, check))


def test_a_call_without_a_loss_is_made_in_the_gradient_mode_of_the_case() -> None:
    implementation, finding = implementation_from(PLAIN["gru"], "gru"), Finding("output", 1.0, 0.5)
    without, with_loss = programs(implementation, CASE, finding)
    assert "@torch.no_grad()\n" in without
    assert "@torch" not in with_loss
    if hasattr(CASE, "grad_mode"):
        inference = replace(CASE, cotangents=(), grad_mode="inference")
        assert "@torch.inference_mode()\n" in next(programs(implementation, inference, finding))


def test_an_exception_in_writing_a_program_is_said_and_the_verdict_stands() -> None:
    def unwritable(*_: Any) -> Iterator[str]:
        raise ValueError("no such\ntensor")

    verdict = Verdict(implementation_from(PLAIN["gru"], "gru"), CASE, [Finding("output", 1.0, 0.5)])
    found = reproducer(verdict, Check(lambda *_: verdict, by(unwritable)), "forward", "equations")
    assert found.unwritten == "ValueError: no such tensor"
    assert not found.plain
    assert found.text.startswith("# no plain program: ValueError: no such tensor\n")
    exec(found.text, {})  # a right layer, so the judge says nothing


def test_a_program_that_raises_of_its_own_is_said() -> None:
    def misspelt(*_: Any) -> Iterator[str]:
        yield "import torch\nundefined"

    verdict = Verdict(implementation_from(PLAIN["gru"], "gru"), CASE, [Finding("output", 1.0, 0.5)])
    found = reproducer(verdict, Check(lambda *_: verdict, by(misspelt)), "forward", "equations")
    assert found.unwritten == "NameError: name 'undefined' is not defined"


def test_where_no_form_fits_the_judge_is_asked_again() -> None:
    verdict = Verdict(implementation_from(PLAIN["gru"], "gru"), CASE, [Finding("output", 1.0, 0.5)])
    text, plain, unwritten = reproducer(verdict, Check(lambda *_: verdict, by()), "forward", "equations")
    assert (plain, unwritten) == (False, None)
    assert text == replayed(verdict, "forward", "equations")
    assert "from rnn_parity.judge import Case, replay\nfrom rnn_parity.reference import LayerSpec\n" in text


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_the_judge_is_asked_again_about_nan_and_infinity(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    case = replace(CASE, nonfinite=("input", 1, value))
    asked: list[Any] = []
    monkeypatch.setattr("rnn_parity.judge.api.replay", lambda *arguments: asked.append(arguments))
    verdict = Verdict(implementation_from(PLAIN["gru"], "gru"), case)
    exec(replayed(verdict, "nonfinite", "NaN in the input"), {})
    ((location, *named, again),) = asked
    assert (location, named) == (verdict.implementation.location, ["nonfinite", "NaN in the input"])
    assert repr(again) == repr(case)  # a NaN is not equal to itself


def test_an_implementation_without_an_import_leaves_a_place_for_one() -> None:
    def local(*args: Any, **options: Any) -> torch.nn.Module:
        return torch.nn.GRU(*args, **options)

    case = Case(LayerSpec("gru", 1, 1), torch.float64, "cpu", 1, 1, seed=0)
    program = next(programs(implementation_from(local, "gru"), case, Finding("output", 1.0, 0.5)))
    assert "Candidate = ...  # the layer under judgement" in program


def test_a_layer_that_ends_its_process_is_only_called() -> None:
    case = replace(CASE, modes=("eval", "train"))
    ended = Ended("forward", "did not return within 60 s")
    verdict = Verdict(implementation_from(PLAIN["gru"], "gru"), case, misbehaviour=ended)
    text, plain, _ = reproducer(verdict, EQUATIONS, "forward", "equations")
    assert plain
    assert text.endswith("\nresult(candidate)")
    assert "\n# forward did not return within 60 s\n" in text
    passes(text)


def test_templates_are_not_loaded_with_the_judge() -> None:
    code = "import sys, rnn_parity.judge.api; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "lengths",
    [(3, 1, 2), (7,) * 200, (9,) * 80 + (4,) * 50, ((1, 2, 3, 4, 5) * 40)[:198], (1, 2) * 60 + (8, 2) + (1, 2) * 9],
)
def test_lengths_of_a_large_batch_are_written_short(lengths: tuple[int, ...]) -> None:
    text = shortest(lengths)
    assert eval(text) == list(lengths)
    assert len(text) < 60
