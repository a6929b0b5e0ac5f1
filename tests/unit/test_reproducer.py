"""A reproducer computes in plain PyTorch what the judge computed: the same tensors from the same case."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnn_parity.judge.cases import Case, cases
from rnn_parity.judge.implementation import implementation_from
from rnn_parity.judge.reproducer import plain
from rnn_parity.judge.verdict import Finding, Verdict, case_bounds
from rnn_parity.reference.builtin import LAYERS


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_its_tensors_are_those_of_the_judge(kind: str, dtype: torch.dtype) -> None:
    implementation = implementation_from(LAYERS[kind], kind)

    @settings(suppress_health_check=list(HealthCheck))
    @given(cases(implementation, dtype), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        limits = {name: bound for name, bound in case_bounds(case).items() if bound.determined}
        if not limits:
            return
        tensor = data.draw(st.sampled_from(sorted(limits)))
        bound = limits[tensor]
        program = plain(Verdict(implementation, case, [Finding(tensor, 1.0, 2 * bound.limit)]))
        names: dict[str, Any] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # oneDNN has no projections, and says so once
            exec(program, names)
        expected = names["expected"].detach().numpy()
        assert np.abs(np.abs(expected).max() - bound.peak) <= bound.limit, program
        assert names["error"] <= bound.limit, program

    check()


def test_an_implementation_without_an_import_leaves_a_place_for_one() -> None:
    def local(*args: Any, **options: Any) -> torch.nn.Module:
        return torch.nn.GRU(*args, **options)

    implementation = implementation_from(local, "gru")
    case = Case(cases_spec(), torch.float64, "cpu", 1, 1, seed=0)
    program = plain(Verdict(implementation, case, [Finding("output", 1.0, 0.5)]))
    assert "Candidate = ...  # the layer under judgement" in program


def cases_spec() -> Any:
    from rnn_parity.reference import LayerSpec

    return LayerSpec("gru", 1, 1)
