"""What CUDA changes, without a GPU: each test runs others in a process that sees the stand-in for a device."""

import json
import re
from pathlib import Path

import torch

from .conftest import Run

CUDA = ("--parity-device", "cuda", "--parity-dtype")
FAULTY = "gru=rnn_parity.tests.on_stand_in.faulty:"
STAND_IN = "stand-in, no GPU"


def judged(*layers: str) -> tuple[str, ...]:
    """Return the options that name layers."""
    return tuple(part for layer in layers for part in ("--parity-implementation", layer))


def test_the_layers(tested: Run) -> None:
    tested("on_stand_in.on_layers")


def test_the_judge(tested: Run) -> None:
    tested("on_stand_in.on_judge")


def test_a_training(tested: Run) -> None:
    tested("on_stand_in.on_training", CUDA_STAND_IN_DEVICES="2")


def test_what_a_task_leaves_is_read_where_there_is_no_device(on_stand_in: Run, tmp_path: Path) -> None:
    options = ("--device", "cuda", "--epochs", "1", "--implementation", "manual", "--out", str(tmp_path))
    assert "hello, data hello, cuda, seed 0" in on_stand_in("-m", "rnn_parity.tasks.hello", *options)
    for name in ("model.ckpt", "checkpoint.pt"):  # here
        assert torch.load(tmp_path / "manual" / name, weights_only=True, map_location=None if name[0] == "m" else "cpu")
    assert json.loads((tmp_path / "manual" / "metrics.json").read_text())["machine"]["accelerator"] == STAND_IN


def test_what_other_tests_ask_of_cuda(tested: Run) -> None:
    modules = ("test_parity", "rnn_parity.tests.unit.test_bench", "rnn_parity.tests.unit.test_surface")
    chosen = "cuda and not cell and not test_bidirectional or gpu"
    (passed,) = re.findall(r"(\d+) passed", tested(*modules, "-k", chosen, HYPOTHESIS_PROFILE="dev"))
    assert int(passed) >= 20


LAYERS = ("gru=torch.nn:GRU", "lstm=rnn_parity.manual.fused:LSTM", "rnn=rnn_parity.manual:RNN")
# Of the trials, for time: what is compared with the oracle, and of torch.nn what else cuDNN refuses.
SHARE = (
    "float64 and (forward or test_gradients and equations or gru and (losses or second or eval)) "
    "or bfloat16 and forward and lstm"
)


def test_conformance(tested: Run, tmp_path: Path) -> None:
    file = tmp_path / "verdicts.json"
    options = (*CUDA, "float64", "--parity-dtype", "bfloat16", "--parity-examples", "1", "--parity-json", str(file))
    printed = tested("conformance", *options, *judged(*LAYERS), "-k", SHARE)
    assert f", CUDA {STAND_IN}, TF32 off" in printed
    assert "torch.nn itself is over its bound" not in printed
    said = r"torch.nn itself refuses \d+ cases, judged without it: backward raised RuntimeError: cudnn RNN backward"
    assert re.search(said, printed)
    assert re.search(r"torch.nn:GRU on cuda in float64: refused \d+ cases, as torch.nn does", printed)
    found = json.loads(file.read_text())
    assert found["header"]["cuda"] == STAND_IN
    assert [verdict["verdict"] for verdict in found["verdicts"]] == ["passed"] * (len(LAYERS) + 1)


def test_faults_that_cost_a_layer_its_process_or_its_memory(tested: Run) -> None:
    layers = judged(f"{FAULTY}AssertingGRU", f"{FAULTY}GreedyGRU", "lstm=rnn_parity.manual:LSTM")
    options = (*CUDA, "float64", "--parity-examples", "4", "--parity-memory", "0.5", *layers)
    printed = tested("conformance", *options, "-k", "forward or absent and not Greedy", status=1)
    assert "3 failed, 2 passed" in printed
    lines = printed.splitlines()
    lost = "AssertingGRU is not the GRU of the equations: forward lost the CUDA device"
    failed = [k for k, line in enumerate(lines) if lost in line]
    assert len(failed) >= 2
    for k in failed[:2]:
        (batch,) = re.findall(r"batch=(\d+)", lines[k + 1])
        assert int(batch) > 2, "the case that is named is an innocent one"
    assert "GreedyGRU is not the GRU of the equations: forward raised OutOfMemoryError: CUDA out of memory." in printed
    assert "the judge failed" not in printed


LOST = """
from rnn_parity.judge import ParityError, assert_parity
from rnn_parity.manual import LSTM
from rnn_parity.tests.on_stand_in.faulty import AssertingGRU

try:
    assert_parity(AssertingGRU, aspects="forward", examples=6, device="cuda")
except ParityError as error:
    print(error)
try:
    assert_parity(LSTM, aspects="forward", examples=6, device="cuda")
except ValueError as error:
    print(error)
"""


def test_after_a_failed_kernel_nothing_is_said_of_other_layers_in_that_process(on_stand_in: Run) -> None:
    first, case, second, *_ = on_stand_in("-c", LOST).splitlines()
    assert "AssertingGRU is not the GRU of the equations: forward lost the CUDA device: " in first
    assert int(re.findall(r"batch=(\d+)", case)[0]) > 2
    assert second.startswith("no device cuda: a layer judged before in this process lost the CUDA device: ")


TWO = """
import warnings

import pytest
import torch

from rnn_parity.judge import ParityError, assert_parity
from rnn_parity.judge.core.candidate import missing_device
from rnn_parity.manual import GRU
from rnn_parity.tests.on_stand_in.faulty import BiasedGRU, ElsewhereGRU

warnings.simplefilter("error")
with pytest.raises(ParityError) as caught:
    assert_parity(BiasedGRU, aspects="forward", examples=2)
assert caught.value.plain, caught.value.unwritten
assert missing_device("cuda:1") is None
assert missing_device("cuda:2") == "no device cuda:2: torch.cuda.device_count() is 2"
assert not torch.cuda.is_initialized()

assert_parity(GRU, aspects="forward", examples=1, device="cuda:1")
assert torch.cuda.current_device() == 0
with pytest.raises(ParityError, match="expected h_n of shape, dtype and device .*cuda:1.*, got .*cuda:0"):
    assert_parity(ElsewhereGRU, aspects="forward", examples=2, device="cuda:1")
"""


def test_two_devices(on_stand_in: Run) -> None:
    on_stand_in("-c", TWO, CUDA_STAND_IN_DEVICES="2")
