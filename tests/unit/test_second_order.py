"""The second derivative: the oracle's against differences of its gradient, and what is said where there is none."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn_parity.judge.checks.second_order import directions, limits, second_order
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case, draw, tensors_of, weights_of
from rnn_parity.judge.core.guard import Streams
from rnn_parity.judge.core.verdict import in_numpy, inputs_of
from rnn_parity.judge.trials import search
from rnn_parity.judge.trials.table import trial_named
from rnn_parity.reference import LayerSpec
from rnn_parity.reference.oracle import evaluate

SPECS = {
    "tanh": LayerSpec("rnn", 2, 3, num_layers=2),
    "relu": LayerSpec("rnn", 2, 3, num_layers=2, nonlinearity="relu", bidirectional=True),
    "gru": LayerSpec("gru", 2, 3, num_layers=2, bidirectional=True),
    "lstm": LayerSpec("lstm", 2, 3, num_layers=2, bidirectional=True),
    "projected": LayerSpec("lstm", 2, 3, proj_size=2, bidirectional=True),
}
# Central differences at 1 to 4 steps: the error is the ninth derivative times the step's eighth power.
WEIGHTS = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
STEP = 2e-4  # no relu of these cases is that near its kink


def case_of(spec: LayerSpec, **options: Any) -> Case:
    results = ("output", "h_n", "c_n") if spec.kind == "lstm" else ("output", "h_n")
    return Case(spec, torch.float64, "cpu", 3, 3, seed=6, cotangents=results, **options)


@pytest.mark.parametrize("lengths", [None, (3, 1, 2)], ids=["padded", "packed"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_is_the_difference_of_the_oracles_gradients(spec: LayerSpec, lengths: tuple[int, ...] | None) -> None:
    case = case_of(spec, lengths=lengths)
    names = [name for name in {**tensors_of(case), **weights_of(case)} if name not in case.cotangents]
    v = in_numpy(directions(case, names), case)

    def at(step: float) -> dict[str, Any]:
        weights, tensors = (
            {name: array + step * v.get(name, 0) for name, array in in_numpy(of, case).items()}
            for of in (weights_of(case), tensors_of(case))
        )
        return evaluate(spec, weights, inputs_of(case, tensors))

    apart = {k: (at(k * STEP), at(-k * STEP)) for k in WEIGHTS}
    found = limits(case, names, copies=1)
    for name in (*(f"{n}.grad" for n in names), *case.cotangents):
        difference = sum(w * (apart[k][0][name] - apart[k][1][name]) for k, w in WEIGHTS.items()) / STEP
        complex_step = found[f"{name}.grad" if name.endswith(".grad") else f"{name}.cotangent.grad"].truth
        assert np.abs(difference - complex_step).max() <= 1e-12 * max(1, np.abs(difference).max()), (
            name,
            difference,
            complex_step,
        )


class Doubled(torch.autograd.Function):
    """The identity; the derivative of its gradient is twice what it should be."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        (gradient,) = gradients
        return gradient + (gradient - gradient.detach())


class Detached(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return Doubled.apply(output), h_n


def test_where_weights_and_states_are_zero_relu_takes_either_slope() -> None:
    spec = LayerSpec("rnn", 2, 6, num_layers=4, nonlinearity="relu", bias=False)
    case = Case(
        spec, torch.float64, "cpu", 4, 1, seed=960925, weight_scale=0.0, states="zeros", cotangents=("output",),
        plain_sum=True,
    )  # fmt: skip
    verdict = second_order(implementation_from(nn.RNN, "rnn"), case)
    assert verdict.ok
    assert verdict.builtin_fault is None


def test_a_wrong_one_is_wrong() -> None:
    verdict = second_order(implementation_from(Detached, "gru"), case_of(SPECS["gru"]))
    assert not verdict.ok
    assert verdict.findings[0].tensor.endswith((".grad.grad", ".cotangent.grad"))


class Once(nn.GRU):
    """Has gradients, but no derivatives of them."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return OnceDifferentiable.apply(output), h_n


class OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[misc]
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


def test_none_is_misbehaviour_where_the_built_in_has_one() -> None:
    verdict = second_order(implementation_from(Once, "gru"), case_of(SPECS["gru"]))
    assert verdict.misbehaviour is not None
    assert str(verdict.misbehaviour).startswith("second backward raised RuntimeError: ")


def test_none_is_a_refusal_where_the_built_in_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(search.LAYERS, "gru", Once)
    trial = trial_named("second_order", "equations")
    verdict = search.ask(trial, implementation_from(Once, "gru"), case_of(SPECS["gru"]), Streams())
    assert verdict.ok
    assert verdict.refused is not None
    assert verdict.findings == []


def test_directions_are_drawn_as_a_reproducer_draws_them() -> None:
    case = case_of(SPECS["gru"])
    v = directions(case, ["input", "weight_hh_l0"])
    assert v["input"].equal(draw(case.seed + 500, 3, 3, 2))
    assert v["weight_hh_l0"].equal(draw(case.seed + 401, 9, 3))
