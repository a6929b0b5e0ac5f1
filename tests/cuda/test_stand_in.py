"""What CUDA changes, without a GPU: each test runs others in a process that sees the stand-in for a device."""

import json
import re
from pathlib import Path

import pytest

from .conftest import Run

CUDA = ("--parity-device", "cuda", "--parity-dtype")
FAULTY = "gru=rnn_parity.tests.cuda.faulty:"


def test_the_layers(tested: Run) -> None:
    tested("cuda.on_layers")


def test_the_judge(tested: Run) -> None:
    tested("cuda.on_judge")


@pytest.mark.parametrize(
    ("dtype", "layers"),
    [
        ("float64", ("gru=torch.nn:GRU", "lstm=rnn_parity.manual.fused:LSTM")),
        ("bfloat16", ("rnn=rnn_parity.manual:RNN",)),
    ],
)
def test_conformance(tested: Run, dtype: str, layers: tuple[str, ...], tmp_path: Path) -> None:
    named = (part for layer in layers for part in ("--parity-implementation", layer))
    file = tmp_path / "verdicts.json"
    options = (*CUDA, dtype, "--parity-examples", "1", "--parity-json", str(file), *named)
    printed = tested("conformance", *options, "-k", "not distribution and not stacking")
    assert ", CUDA stand-in, no GPU, TF32 off" in printed
    assert "torch.nn itself is over its bound" not in printed
    found = json.loads(file.read_text())
    assert found["header"]["cuda"] == "stand-in, no GPU"
    assert [verdict["verdict"] for verdict in found["verdicts"]] == ["passed"] * len(layers)


def test_a_failed_kernel_costs_its_layer_the_process(tested: Run) -> None:
    layers = ("--parity-implementation", f"{FAULTY}AssertingGRU", "--parity-implementation", "lstm=rnn_parity.manual:LSTM")
    options = (*CUDA, "float64", "--parity-examples", "4", *layers, "-k", "forward or absent")
    printed = tested("conformance", *options, status=1)
    assert "2 failed, 2 passed" in printed
    lines = printed.splitlines()
    failed = [k for k, line in enumerate(lines) if "is not the GRU of the equations: forward lost the CUDA device" in line]
    for k in failed[:2]:
        (batch,) = re.findall(r"batch=(\d+)", lines[k + 1])
        assert int(batch) > 2, "the case that is named is an innocent one"
    assert "the judge failed" not in printed


LOST = """
from rnn_parity.judge import JudgeError, ParityError, assert_parity
from rnn_parity.manual import LSTM
from rnn_parity.tests.cuda.faulty import AssertingGRU

try:
    assert_parity(AssertingGRU, aspects="forward", examples=6, device="cuda")
except ParityError as error:
    print(error)
try:
    assert_parity(LSTM, aspects="forward", examples=6, device="cuda")
except JudgeError as error:
    print(error)
"""


def test_after_a_failed_kernel_nothing_is_said_of_other_layers_in_that_process(on_stand_in: Run) -> None:
    first, case, second, *_ = on_stand_in("-c", LOST).splitlines()
    assert "AssertingGRU is not the GRU of the equations: forward lost the CUDA device: " in first
    assert int(re.findall(r"batch=(\d+)", case)[0]) > 2
    assert "nothing is said of rnn_parity.manual.layers:LSTM" in second


TWO = """
import warnings

import pytest
import torch

from rnn_parity.judge import ParityError, assert_parity
from rnn_parity.manual import GRU
from rnn_parity.tests.cuda.faulty import BiasedGRU, ElsewhereGRU

warnings.simplefilter("error")
with pytest.raises(ParityError) as caught:
    assert_parity(BiasedGRU, aspects="forward", examples=2)
assert caught.value.plain, caught.value.unwritten
assert not torch.cuda.is_initialized()

assert torch.cuda.device_count() == 2
assert_parity(GRU, aspects=("forward", "packed"), examples=1, device="cuda:1")
assert torch.cuda.current_device() == 0
with pytest.raises(ParityError, match="expected h_n of shape, dtype and device .*cuda:1.*, got .*cuda:0"):
    assert_parity(ElsewhereGRU, aspects="forward", examples=2, device="cuda:1")
"""


def test_two_devices(on_stand_in: Run) -> None:
    on_stand_in("-c", TWO, CUDA_STAND_IN_DEVICES="2")
