"""Every planted fault is caught, and its reproducer reproduces it."""

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from rnn_parity.judge import ASPECTS, ParityError, assert_parity
from rnn_parity.tests.meta.defects import PLANTED
from rnn_parity.tests.meta.plain import PLAIN


def verdict_on(layer: Any, kind: str, aspects: Sequence[str] = ASPECTS) -> ParityError:
    with pytest.raises(ParityError) as caught:
        assert_parity(layer, kind, aspects=aspects, examples=25)
    return caught.value


@pytest.mark.parametrize(("defect", "kind"), PLANTED, ids=lambda part: part.replace(" ", "_"))
def test_is_caught_with_a_reproducer_that_reproduces_it(defect: str, kind: str) -> None:
    # What changes dropout alone is clean until then: the others need not be gone through each time.
    aspects = ("dropout",) if defect.startswith("dropout") else ASPECTS
    error = verdict_on(PLANTED[defect, kind], kind, aspects)
    assert error.verdict.case.spec.kind == kind
    assert len(error.reproducer.splitlines()) <= 25
    assert "rnn_parity.judge" not in error.reproducer
    with pytest.raises(AssertionError, match=r"is off by|expected another call to drop other elements"):
        exec(error.reproducer, {})
    mend(error.reproducer, PLANTED[defect, kind])


def mend(reproducer: str, wrong: type) -> None:
    """Run a reproducer with a right layer in place of the wrong one: it passes."""
    right = next(layer for layer in wrong.__mro__ if layer in PLAIN.values())
    mended = reproducer.replace(
        f"from {wrong.__module__} import {wrong.__name__} as", f"from {right.__module__} import {right.__name__} as"
    )
    assert mended != reproducer
    exec(mended, {})


def test_a_reproducer_is_a_program_of_its_own() -> None:
    error = verdict_on(PLANTED["z flipped", "gru"], "gru")
    done = subprocess.run([sys.executable, "-c", error.reproducer], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("AssertionError: ")
    assert error.verdict.findings[0].tensor in done.stderr


def test_the_smallest_case_is_small() -> None:
    case = verdict_on(PLANTED["z flipped", "gru"], "gru").verdict.case
    assert (case.seq_len, case.batch, case.spec.input_size, case.spec.hidden_size) == (1, 1, 1, 1)


class Unrepeatable(torch.nn.GRU):
    """Right, but for one call in five."""

    calls = 0

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        type(self).calls += 1
        return output, h_n + (self.calls % 5 == 0)


def test_a_fault_that_comes_and_goes_is_caught() -> None:
    error = verdict_on(Unrepeatable, "gru")
    assert not error.verdict.ok


class Loud(torch.nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        raise RuntimeError("no kernel for this shape")


def test_an_exception_is_a_verdict_with_a_reproducer() -> None:
    error = verdict_on(Loud, "gru")
    assert error.verdict.misbehaviour == "forward raised RuntimeError: no kernel for this shape"
    with contextlib.suppress(ImportError), pytest.raises(RuntimeError, match="no kernel for this shape"):
        exec(error.reproducer, {})
