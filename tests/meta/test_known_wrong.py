"""Every planted fault is caught, and its reproducer reproduces it.

Here each in one of its layers, with one seed, by the aspect that is about it; `python -m
rnn_parity.tests.meta.score` asks for all of it.
"""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from rnn_parity.bench.plain import PlainGRU
from rnn_parity.judge import ASPECTS, ParityError, assert_parity
from rnn_parity.judge.trials import search
from rnn_parity.tests.meta.defects import DEFECTS, PLANTED, TOPICS
from rnn_parity.tests.meta.score import first_verdict, reproduced

# The aspect that shows what a topic is about; and that of what shows elsewhere.
SHOWN_BY = {
    "cells": "forward",
    "stacks": "stacking",
    "sequences": "packed",
    "gradients": "gradients",
    "calls": "forward",
    "dropouts": "dropout",
    "kernels": "forward",
}
ELSEWHERE = {
    "strided state read as contiguous": "layouts",
    "strided state refused": "layouts",
    "c_0 read with the strides of h_0": "layouts",
    "batch_first output with its memory time first": "layouts",
    "batch_first ignored in memory": "layouts",
    "no double backward": "second_order",
    "second derivative of tanh lost": "second_order",
    "second derivative through weight_hh lost": "second_order",
    "NaN of the input swallowed": "nonfinite",
    "NaN of the state swallowed": "nonfinite",
    "infinity loses its sign": "nonfinite",
    "dropout not reproducible": "repeatability",
    "state kept between calls": "repeatability",
    "gradient of weight_hh stops at 256 columns": "gradients",
    "gradient cut every 256 steps": "gradients",
    "gradients of a changed output": "gradients",
    "gradients of a changed input": "gradients",
    "gradients of a changed weight": "gradients",
    "tenth layer loads the first": "stacking",
    "reverse recurrent product stops at 512 columns": "stacking",
    "reverse gradient of the input stops at 512 features": "stacking",
    "one dropout mask for all layers": "dropout",
}
ASPECT = {defect.name: SHOWN_BY[topic] for topic, defects in TOPICS.items() for defect in defects} | ELSEWHERE

# In rotation, so that each layer takes its part; from where the dearest are in small layers.
ROTATION = [(defect.name, defect.variants[(k + 2) % len(defect.variants)]) for k, defect in enumerate(DEFECTS)]


@pytest.fixture
def _quick_to_shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SHRINK_SECONDS", 0.2)


@pytest.mark.usefixtures("_quick_to_shrink")
@pytest.mark.parametrize(("defect", "variant"), ROTATION, ids=lambda part: part.replace(" ", "_"))
def test_is_caught_with_a_reproducer_that_reproduces_it(defect: str, variant: str) -> None:
    layer = PLANTED[defect, variant]
    _, error, _ = first_verdict(layer, aspects=(ASPECT[defect],))
    assert error is not None
    assert error.verdict.case.spec.kind == layer.kind
    assert len(error.reproducer.splitlines()) <= 25
    assert reproduced(error) is None


def verdict_on(layer: Any, kind: str, aspects: Sequence[str] = ASPECTS) -> ParityError:
    with pytest.raises(ParityError) as caught:
        assert_parity(layer, kind, aspects=aspects, examples=25)
    return caught.value


def test_a_reproducer_is_a_program_of_its_own() -> None:
    error = verdict_on(PLANTED["z flipped", "gru"], "gru")
    done = subprocess.run([sys.executable, "-c", error.reproducer], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("AssertionError: ")
    assert error.verdict.findings[0].tensor in done.stderr


def test_the_smallest_case_is_small() -> None:
    case = verdict_on(PLANTED["z flipped", "gru"], "gru").verdict.case
    assert (case.seq_len, case.batch, case.spec.input_size, case.spec.hidden_size) == (1, 1, 1, 1)


def test_the_reproducer_passes_once_the_fault_is_mended() -> None:
    reproducer = verdict_on(PLANTED["z flipped", "gru"], "gru").reproducer
    wrong = PLANTED["z flipped", "gru"]
    mended = reproducer.replace(
        f"from {wrong.__module__} import {wrong.__name__} as Candidate",
        "from rnn_parity.bench.plain import PlainGRU as Candidate",
    )
    assert mended != reproducer
    exec(mended, {})


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


class Tiled(PlainGRU):
    """A product that has as many columns as a block of a GPU has threads."""

    def weights(self, suffix: str) -> dict[str, torch.Tensor]:
        w = super().weights(suffix)
        return w | {
            "weight_hh": torch.nn.functional.pad(w["weight_hh"][:, :1024], (0, max(0, self.spec.hidden_size - 1024)))
        }


@pytest.mark.slow
def test_a_fault_past_1024_hidden_features_is_caught_in_float32() -> None:
    with pytest.raises(ParityError, match="is not the GRU"):
        assert_parity(Tiled, "gru", dtype="float32", aspects="forward", examples=32)


class Loud(torch.nn.GRU):
    def forward(self, input: Any, hx: Any = None) -> Any:
        raise RuntimeError("no kernel for this shape")


def test_an_exception_is_a_verdict_with_a_reproducer() -> None:
    error = verdict_on(Loud, "gru")
    assert str(error.verdict.misbehaviour) == "forward raised RuntimeError: no kernel for this shape"
    with pytest.raises(RuntimeError, match="no kernel for this shape"):
        exec(error.reproducer, {})
