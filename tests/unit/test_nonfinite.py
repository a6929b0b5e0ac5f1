"""NaN and infinity: where they are put, and where they may go."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.checks.nonfinite import PLANTS, planted
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.judge.core.case import Case, tensors_of, weights_of
from rnn_parity.judge.core.strategies import cases
from rnn_parity.judge.core.verdict import case_bounds
from rnn_parity.reference import LayerSpec

GRU = implementation_from(nn.GRU, "gru")
CASE = Case(LayerSpec("gru", 2, 3), torch.float64, "cpu", 4, 3, seed=1, cotangents=("output", "h_n"))
IN_ROW_1_AT_STEP_2 = ("input", (2 * 3 + 1) * 2, math.nan)


@pytest.mark.parametrize("what", PLANTS)
@given(cases(GRU, torch.float64, vary={"packed", "states", "stack", "gradients"}))
def test_one_is_put_where_the_layer_reads_it(what: str, case: Case) -> None:
    case = planted(what)(case)
    assert case.nonfinite is not None
    name, index, value = case.nonfinite
    values = {**tensors_of(case), **weights_of(case)}
    assert math.isnan(value) == what.startswith("NaN")
    assert {"input": "input", "h_0": "state"}.get(name, "parameter") == what.split()[-1]
    assert {n for n, tensor in values.items() if not tensor.isfinite().all()} == {name}
    assert (~values[name].isfinite()).sum() == 1
    if name == "input" and case.lengths is not None:
        step, row = divmod(index // case.spec.input_size, case.batch)
        assert step < case.lengths[row]


def test_a_nan_reaches_its_own_row_from_its_step_on() -> None:
    output = case_bounds(replace(CASE, nonfinite=IN_ROW_1_AT_STEP_2, cotangents=()))["output"]
    expected = np.zeros((4, 3, 3), dtype=bool)
    expected[2:, 1] = True
    assert (np.isnan(output.truth) == expected).all()
    assert output.determined


def test_the_other_direction_has_read_the_later_steps_before() -> None:
    case = replace(CASE, spec=LayerSpec("gru", 2, 3, bidirectional=True), nonfinite=IN_ROW_1_AT_STEP_2, cotangents=())
    backward = case_bounds(case)["output"].truth[..., 3:]
    assert np.isnan(backward[:3, 1]).all()
    assert np.isfinite(backward[3]).all()
    assert np.isfinite(backward[:, [0, 2]]).all()


def test_an_infinite_input_saturates_and_stays_finite() -> None:
    bounds = case_bounds(replace(CASE, nonfinite=("input", 0, math.inf), cotangents=()))
    assert np.isfinite(bounds["output"].truth).all()


class Swallows(nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(input.nan_to_num(), hx)


class Spreads(nn.GRU):
    """One NaN in the batch makes all of it NaN."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return output + 0 * input.sum(), h_n


@pytest.mark.parametrize("layer", [Swallows, Spreads])
def test_what_swallows_or_spreads_it_is_wrong(layer: type[nn.GRU]) -> None:
    implementation = implementation_from(layer, "gru")
    assert judge(implementation, CASE).ok
    verdict = judge(implementation, replace(CASE, nonfinite=IN_ROW_1_AT_STEP_2))
    assert not verdict.ok
    assert "is NaN, inf or -inf elsewhere than it should be" in verdict.message()


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_what_relu_makes_of_an_infinity_is_determined(value: float) -> None:
    spec = LayerSpec("rnn", 2, 4, nonlinearity="relu")
    case = Case(spec, torch.float64, "cpu", 1, 2, seed=0, states="absent", nonfinite=("input", 0, value))
    verdict = judge(implementation_from(nn.RNN, "rnn"), case)
    assert verdict.ok
    assert not verdict.undetermined
