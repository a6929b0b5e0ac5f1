"""Answers of the judge's that were wrong once: of layers beside strange modules, of infinities, of refusals."""

import math
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from rnn_parity.judge import Case, JudgeError, ParityError, assert_parity, replay
from rnn_parity.judge.checks import autograd, dropout, relations, repeat
from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.results import ERROR, FAILED, UNSUPPORTED
from rnn_parity.judge.core.verdict import case_bounds
from rnn_parity.judge.trials import search
from rnn_parity.judge.trials.reproducer import reproducer
from rnn_parity.judge.trials.schedule import blocks
from rnn_parity.judge.trials.table import TRIALS, trial_named
from rnn_parity.reference import LayerSpec
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.tests.meta.defects import PLANTED

GRU = implementation_from(nn.GRU, "gru")
CASE = Case(LayerSpec("gru", 3, 4), torch.float64, "cpu", 3, 2, seed=0, cotangents=("output", "h_n"))


def drawn() -> list[Case]:
    found: list[Case] = []
    trial = trial_named("layouts", "equations")
    for plan in blocks(trial, GRU, torch.float64, 20, 0):
        for block in plan:
            search.draw(found.append, trial, GRU, torch.float64, "cpu", block)
    return found


@pytest.fixture
def _lazy_module() -> Iterator[None]:
    class Lazy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise ImportError("an optional dependency is not installed")

    sys.modules["lazy_optional"] = Lazy("lazy_optional")
    yield
    del sys.modules["lazy_optional"]


@pytest.mark.usefixtures("_lazy_module")
def test_a_module_that_cannot_be_looked_at_changes_nothing() -> None:
    assert_parity(nn.LSTM, "lstm", aspects=("forward", "packed"), examples=4)


def test_the_numbers_of_other_code_decide_no_case(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = drawn()
    (tmp_path / "full_of_numbers.py").write_text("numbers = [" + ", ".join(map(str, range(2, 7))) + "]")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("full_of_numbers")
    try:
        assert drawn() == expected
    finally:
        del sys.modules["full_of_numbers"]


class Negated(nn.RNN):
    """Right, but for the sign of an infinity."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return torch.where(output.isinf(), -output, output), torch.where(h_n.isinf(), -h_n, h_n)


class Nan(nn.RNN):
    """Right, but for an infinity that becomes NaN."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return torch.where(output.isinf(), torch.nan, output), torch.where(h_n.isinf(), torch.nan, h_n)


@pytest.mark.parametrize("layer", [Negated, Nan])
def test_nan_and_both_infinities_are_three_things(layer: type[nn.RNN]) -> None:
    spec = LayerSpec("rnn", 1, 2, nonlinearity="relu")
    infinite = Case(spec, torch.float64, "cpu", 1, 1, seed=0, nonfinite=("input", 0, math.inf))
    cases = [replace(infinite, seed=seed) for seed in range(6)]
    assert any((case_bounds(case)["output"].truth == math.inf).any() for case in cases)
    verdicts = [judge(implementation_from(layer, "rnn"), case) for case in cases]
    assert any(not verdict.ok for verdict in verdicts)
    assert all(judge(implementation_from(nn.RNN, "rnn"), case).ok for case in cases)


@pytest.mark.parametrize("check", [relations.TIME_REVERSAL, autograd.TWO_LOSSES, autograd.OUTPUT_CHANGED])
def test_what_the_dtype_cannot_tell_is_counted(check: Any) -> None:
    # Saturating weights and many steps: bfloat16 carries no digits.
    spec = LayerSpec("rnn", 3, 4, bidirectional=True)
    chaotic = Case(spec, torch.bfloat16, "cpu", 40, 2, 0, weight_scale=4.0, cotangents=("output", "h_n"))
    verdict = check.verdict(implementation_from(nn.RNN, "rnn"), chaotic)
    assert verdict.ok
    assert verdict.undetermined


class Stacked(nn.GRU):
    """Wrong only when stacked, by an exception."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        if self.num_layers > 1:
            raise RuntimeError("no kernel")
        return super().forward(input, hx)


@pytest.mark.parametrize("aspect", ["nonfinite", "stacking", "relations"])
def test_a_case_made_plainer_stays_one(aspect: str) -> None:
    with pytest.raises(ParityError, match="forward raised RuntimeError: no kernel"):
        assert_parity(Stacked, "gru", aspects=aspect, examples=8)


def test_an_exception_of_the_judges_own_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, cases = trial_named("forward", "equations"), list[Case]()

    def broken(implementation: Any, case: Case) -> Any:
        cases.append(case)
        raise IndexError("a fault of the judge's")

    wrong = replace(trial, check=replace(trial.check, verdict=broken))
    outcome = search.asked(wrong, GRU, torch.float64, "cpu", 4, 0)
    assert outcome.result == ERROR
    assert len(cases) == 1, "a case that the judge cannot answer was made smaller"
    assert outcome.message is not None
    assert "nothing is said of torch.nn" in outcome.message
    assert "case: gru(" in outcome.message
    assert "IndexError: a fault of the judge's" in outcome.message
    with pytest.raises(JudgeError):
        search.search(wrong, GRU, torch.float64, "cpu", blocks(wrong, GRU, torch.float64, 4, 0)[0], search.Tally())


@pytest.mark.parametrize("trial", [t for t in TRIALS if t.name != "distribution"], ids=repr)
def test_what_torch_nn_refuses_is_refused_in_every_trial(trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_kernel(self: Any, input: Any, hx: Any = None) -> Any:
        raise RuntimeError("not implemented for this dtype")

    class Mine(nn.GRU):
        parity_draws_like_builtin = True
        forward = no_kernel

    monkeypatch.setattr(nn.GRU, "forward", no_kernel)
    outcome = search.asked(trial, implementation_from(Mine, "gru"), torch.float64, "cpu", 2, 0)
    assert outcome.result == UNSUPPORTED, outcome.message
    assert outcome.reason is not None
    assert "not implemented for this dtype" in outcome.reason


class Stateless(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(input)


def test_a_layer_that_ignores_its_state_is_judged_for_its_dropout() -> None:
    outcome = search.asked(
        trial_named("dropout", "distribution"), implementation_from(Stateless, "gru"), torch.float64, "cpu", 20, 0
    )
    assert outcome.result == FAILED
    assert outcome.message is not None
    assert "is off by" in outcome.message


@pytest.mark.parametrize("seed", [1054, 6042, 9093, 15017])
@pytest.mark.parametrize("defect", ["another dropout mask in backward", "dropout spares the first row"])
def test_a_fault_of_dropout_shows_in_every_case_with_enough_to_drop(defect: str, seed: int) -> None:
    spec = LayerSpec("lstm", 3, 8, num_layers=2, bidirectional=True)
    case = dropout.linear(Case(spec, torch.float64, "cpu", 3, 1, seed=seed, cotangents=("output",)))
    verdict = dropout.distribution(implementation_from(PLANTED[defect, "lstm"], "lstm"), case)
    assert not verdict.ok
    assert dropout.distribution(implementation_from(nn.LSTM, "lstm"), case).ok
    assert reproducer(verdict, dropout.DISTRIBUTION, "dropout", "distribution").plain


@pytest.mark.parametrize(("kind", "seed"), [("gru", 22), ("gru", 26), ("gru", 47), ("lstm", 38), ("lstm", 58)])
def test_sums_that_move_against_each_other_are_not_held_against_a_layer(kind: str, seed: int) -> None:
    spec = LayerSpec(kind, 3, 1, num_layers=2)
    case = dropout.linear(Case(spec, torch.float64, "cpu", 2, 1, seed=seed, cotangents=("output",)))
    assert dropout.distribution(implementation_from(LAYERS[kind], kind), case).ok


def test_repeating_a_call_with_dropout_is_bounded_by_the_oracle() -> None:
    spec = LayerSpec("gru", 3, 4, num_layers=3, dropout=0.9)
    case = replace(CASE, spec=spec, dropout_seed=1)
    without, with_dropout = case_bounds(case), repeat._limits(case, 4)
    assert with_dropout["output"].limit != without["output"].limit
    assert repeat.REPEATED.verdict(GRU, case).ok


def test_every_boundary_has_masks_of_its_own() -> None:
    trial = trial_named("dropout", "each boundary")
    outcome = search.asked(trial, implementation_from(OneMask, "gru"), torch.float64, "cpu", 50, 0)
    assert outcome.result == FAILED
    assert outcome.message is not None
    assert "all masks of output is off by" in outcome.message


class OneMask(nn.Module):
    """Three layers of torch.nn with one mask for both boundaries."""

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1, dropout: float = 0.0, **options: Any):
        super().__init__()
        self.p, directions = dropout, 2 if options.get("bidirectional") else 1
        sizes = [input_size, *[hidden_size * directions] * (num_layers - 1)]
        self.layers = nn.ModuleList(nn.GRU(size, hidden_size, **options) for size in sizes)
        for k, layer in enumerate(self.layers):
            for name, parameter in list(layer.named_parameters()):
                self.register_parameter(name.replace("_l0", f"_l{k}"), parameter)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        return {name: p for name, p in self.named_parameters() if not name.startswith("layers.")}

    def load_state_dict(self, state: Any, *args: Any, **options: Any) -> Any:
        with torch.no_grad():
            for name, parameter in self.state_dict().items():
                parameter.copy_(state[name])

    def named_parameters(self, *args: Any, **options: Any) -> Any:
        return ((name, p) for name, p in super().named_parameters(*args, **options) if not name.startswith("layers."))

    def forward(self, input: Any, hx: Any = None) -> Any:
        rows = None if hx is None else hx.chunk(len(self.layers))
        packed = isinstance(input, nn.utils.rnn.PackedSequence)
        mask, last = None, []
        for k, layer in enumerate(self.layers):
            if k:
                data = input.data if packed else input
                mask = nn.functional.dropout(torch.ones_like(data), self.p, self.training) if mask is None else mask
                input = nn.utils.rnn.PackedSequence(data * mask, *input[1:]) if packed else data * mask
            input, state = layer(input) if rows is None else layer(input, rows[k])
            last.append(state)
        return input, torch.cat(last)


def test_a_case_with_nan_is_written_as_code_that_runs() -> None:
    case = replace(CASE, nonfinite=("input", 1, math.nan))
    names: dict[str, Any] = {"Case": Case, "LayerSpec": LayerSpec, "torch": torch, "nan": math.nan}
    again = eval(repr(case), names)
    assert again.nonfinite[:2] == case.nonfinite[:2]
    assert math.isnan(again.nonfinite[2])


def test_asking_again_gives_the_same_answer() -> None:
    replay(nn.GRU, "forward", "equations", CASE)
    with pytest.raises(ParityError):
        replay(Stateless, "forward", "equations", CASE)
