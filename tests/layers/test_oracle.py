"""The oracle: its backward pass against finite differences of its forward pass, and both against torch.nn."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case, tensors_of, weights_of
from rnn_parity.reference import LayerSpec
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.reference.oracle import Inputs, evaluate
from rnn_parity.reference.rounding import Exact, Numbers, linear, masked, relu, sigma, split, stack, tanh, where

SPECS = [
    LayerSpec("rnn", 3, 4, num_layers=2, bidirectional=True),
    LayerSpec("rnn", 2, 3, num_layers=2, nonlinearity="relu", bias=False),
    LayerSpec("gru", 3, 4, num_layers=2, bidirectional=True),
    LayerSpec("gru", 1, 2, num_layers=3, bias=False),
    LayerSpec("lstm", 3, 4, num_layers=2, bidirectional=True),
    LayerSpec("lstm", 3, 4, num_layers=2, bidirectional=True, proj_size=2),
    LayerSpec("lstm", 2, 3, bias=False, proj_size=1),
]
IN_DIALECT = [
    LayerSpec("rnn", 2, 3, bidirectional=True, dialect=("one bias",)),
    LayerSpec("gru", 2, 3, num_layers=2, dialect=("one bias",)),
    LayerSpec("gru", 3, 2, num_layers=2, bidirectional=True, dialect=("reset before",)),
    LayerSpec("gru", 2, 3, bias=False, dialect=("reset before", "one bias")),
    LayerSpec("lstm", 2, 3, bidirectional=True, proj_size=2, dialect=("forget bias + 1",)),
    LayerSpec("lstm", 2, 3, bias=False, dialect=("forget bias + 1",)),
]
LENGTHS = [None, (4, 1, 3)]


def case_of(spec: LayerSpec, lengths: tuple[int, ...] | None) -> Case:
    results = ("output", "h_n", "c_n") if spec.kind == "lstm" else ("output", "h_n")
    return Case(spec, torch.float64, "cpu", 4, 3, seed=7, lengths=lengths, cotangents=results)


def arrays_of(case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    tensors = {name: t.numpy().astype(np.longdouble) for name, t in tensors_of(case).items()}
    weights = {name: t.numpy().astype(np.longdouble) for name, t in weights_of(case).items()}
    return tensors, weights


def run(case: Case, tensors: dict[str, Any], weights: dict[str, Any], backward: bool) -> dict[str, Any]:
    cotangents = {name: tensors[name] for name in case.cotangents} if backward else None
    inputs = Inputs(tensors["input"], tensors["h_0"], tensors.get("c_0"), case.lengths, cotangents)
    return evaluate(case.spec, weights, inputs)


def loss(case: Case, tensors: dict[str, Any], weights: dict[str, Any]) -> Any:
    results = run(case, tensors, weights, backward=False)
    total = np.longdouble(0)
    for name in case.cotangents:
        counted = np.ones(results[name].shape)
        if name == "output" and case.lengths:  # padding is no part of the output
            counted = np.arange(case.seq_len)[:, None, None] < np.asarray(case.lengths)[None, :, None]
        total += (results[name] * tensors[name] * counted).sum()
    return total


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize(
    "spec", [*SPECS, *IN_DIALECT], ids=lambda s: f"{s.kind}{s.proj_size}{s.nonlinearity}{s.bias}{'+'.join(s.dialect)}"
)
def test_gradients_are_the_slopes_of_the_forward_pass(spec: LayerSpec, lengths: tuple[int, ...] | None) -> None:
    case = case_of(spec, lengths)
    tensors, weights = arrays_of(case)
    gradients = run(case, tensors, weights, backward=True)
    random = np.random.default_rng(0)
    for name in (*weights, "input", "h_0", *(("c_0",) if spec.kind == "lstm" else ())):
        held = weights if name in weights else tensors
        direction = random.standard_normal(held[name].shape)
        if name == "input" and lengths:
            direction *= np.arange(case.seq_len)[:, None, None] < np.asarray(lengths)[None, :, None]
        # Central differences: a truncation error of step**2, here 1e-10, and a rounding error of 1e-19 / step.
        step, original = np.longdouble(1e-5), held[name]
        ends = []
        for sign in (1, -1):
            held[name] = original + sign * step * direction
            ends.append(loss(case, tensors, weights))
        held[name] = original
        slope = (ends[0] - ends[1]) / (2 * step)
        expected = (gradients[f"{name}.grad"] * direction).sum()
        scale = np.abs(gradients[f"{name}.grad"] * direction).sum() + 1
        assert abs(slope - expected) <= 1e3 * step**2 * scale, name


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.kind}{s.proj_size}{s.nonlinearity}{s.bias}")
def test_agrees_with_the_built_in_within_the_bound(spec: LayerSpec, lengths: tuple[int, ...] | None) -> None:
    verdict = judge(implementation_from(LAYERS[spec.kind], spec.kind), case_of(spec, lengths))
    assert verdict.ok, verdict.message()
    assert not verdict.undetermined


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_keeps_the_dtype_it_is_handed(dtype: Any) -> None:
    case = case_of(SPECS[5], None)
    tensors, weights = ({name: a.astype(dtype) for name, a in group.items()} for group in arrays_of(case))
    results = run(case, tensors, weights, backward=True)
    assert {name: a.dtype for name, a in results.items()} == dict.fromkeys(results, np.dtype(dtype))


def test_absent_states_are_zeros() -> None:
    case = case_of(SPECS[4], None)
    tensors, weights = arrays_of(case)
    zeros = evaluate(case.spec, weights, Inputs(tensors["input"], 0 * tensors["h_0"], 0 * tensors["c_0"]))
    absent = evaluate(case.spec, weights, Inputs(tensors["input"]))
    assert all(np.array_equal(zeros[name], absent[name]) for name in zeros)


def test_padding_changes_nothing() -> None:
    case = case_of(SPECS[2], (4, 1, 3))
    tensors, weights = arrays_of(case)
    before = run(case, tensors, weights, backward=True)
    tensors["input"][1:, 1] = 1e3
    after = run(case, tensors, weights, backward=True)
    assert all(np.array_equal(before[name], after[name]) for name in before)


class Written(Exact):
    """Writes down every result that it is handed to be rounded."""

    def __init__(self) -> None:
        self.results: list[Any] = []

    def __call__(self, x: Any) -> Any:
        self.results.append(x.ravel().tolist())
        return x

    def activation(self, x: Any, a: Any) -> Any:
        return self(x)


def test_every_operator_rounds_its_result_once() -> None:
    rounding = Written()
    z, n, h = (Numbers(np.full((1, 1), value), rounding) for value in (0.25, 2.0, 8.0))
    assert ((1 - z) * n + z * h - n).array == 1.5
    assert rounding.results == [[0.75], [1.5], [2.0], [3.5], [1.5]]
    rounding.results.clear()
    assert linear(h, n, z).array == (h @ n.T).array + 0.25
    assert rounding.results == [[16.25], [16.0]]
    rounding.results.clear()
    assert tanh(z - z).array == 0
    assert sigma(z - z).array == 0.5
    assert rounding.results == [[0.0], [0.0], [0.0], [0.5]]


def test_what_computes_nothing_rounds_nothing() -> None:
    rounding = Written()
    x = Numbers(np.array([[-1.0, 2.0]]), rounding)
    positive, slope = relu(x)
    assert positive.array.tolist() == [[0, 2]]
    assert masked(x, slope).array.tolist() == [[0, 2]]
    assert where(~slope, x).array.tolist() == [[-1, 0]]
    assert stack(split(x, 2)).T[0].array.tolist() == [[-1]]
    assert rounding.results == []
    assert x.rounded().array is not x.array
    assert rounding.results == [[-1, 2]]


def test_there_is_no_torch_in_it() -> None:
    code = "import sys, rnn_parity.reference.oracle; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
