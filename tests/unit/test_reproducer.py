"""A reproducer computes in plain PyTorch what the judge computed, in 25 lines, and passes for a right layer."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnn_parity.judge.cases import VARIATIONS, Case, cases
from rnn_parity.judge.implementation import implementation_from
from rnn_parity.judge.misbehaviour_programs import misbehaving
from rnn_parity.judge.programs import related, two_losses
from rnn_parity.judge.reproducer import RELATIONS, plain
from rnn_parity.judge.snippets import COLUMNS, MOST_LINES
from rnn_parity.judge.verdict import Finding, Verdict, case_bounds
from rnn_parity.reference import LayerSpec
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.tests.meta.plain import PLAIN

RIGHT = [*LAYERS.items(), *PLAIN.items()]


def passes(program: str) -> dict[str, Any]:
    """Run a program of at most 25 lines of 120 columns, and return its variables."""
    lines = program.splitlines()
    assert len(lines) <= MOST_LINES, program
    assert max(map(len, lines)) <= COLUMNS, program
    assert "rnn_parity.judge" not in program
    names: dict[str, Any] = {}
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # oneDNN has no projections, and says so once
        try:
            exec(program, names)
        except AssertionError as error:
            raise AssertionError(program) from error
        finally:
            torch.set_grad_enabled(True)
    return names


def finding(case: Case, data: st.DataObject, factor: float = 1.0, ending: str = "") -> Finding | None:
    limits = {name: bound for name, bound in case_bounds(case).items() if bound.determined and name.endswith(ending)}
    if not limits:
        return None
    tensor = data.draw(st.sampled_from(sorted(limits)))
    return Finding(tensor, 1.0, factor * limits[tensor].limit)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("kind", "layer"), RIGHT, ids=str)
def test_its_tensors_are_those_of_the_judge(kind: str, layer: type[torch.nn.Module], dtype: torch.dtype) -> None:
    implementation = implementation_from(layer, kind)

    @settings(suppress_health_check=list(HealthCheck))
    @given(cases(implementation, dtype), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        wrong = finding(case, data, factor=2)  # the right layer and torch.nn in float64 may both be off
        if wrong is not None:
            names = passes(plain(Verdict(implementation, case, [wrong])))
            assert names["error"] <= wrong.limit

    check()
