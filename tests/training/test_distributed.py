"""Two processes that share every batch train what one process trains on the whole of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
OPTIONS = ("--data", "digits", "--epochs", "1", "--device", "cpu")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=300)


def measured(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    task = ("-m", "rnn_parity.tasks.mnist", *OPTIONS, "--implementation", "manual", "--out")
    two = run(*TORCHRUN, *task, str(tmp_path / "two"))
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("epoch 1/1") == 1  # one of them speaks
    assert run(*task, str(tmp_path / "one")).returncode == 0
    together, alone = (measured(tmp_path / name / "manual") for name in ("two", "one"))
    assert (together["settings"]["processes"], alone["settings"]["processes"]) == (2, 1)
    # 23 batches, the last of 29 images, which two processes cannot halve. In float32 the sums differ in order.
    for name in ("loss_per_step", "gradient_norm_per_step"):
        assert len(together[name]) == 23
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-3)
    np.testing.assert_allclose(together["loss_per_step"][:5], alone["loss_per_step"][:5], rtol=1e-5)


@pytest.mark.slow
def test_a_task_that_cannot_share_a_batch_says_so(tmp_path: Path) -> None:
    done = run(*TORCHRUN, "-m", "rnn_parity.tasks.hello", "--device", "cpu", "--out", str(tmp_path))
    assert done.returncode != 0
    assert "hello: expected one process, came 2: hello cannot share a batch among them" in done.stderr


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_cuda_devices(implementation: str, tmp_path: Path) -> None:
    options = ("--data", "digits", "--epochs", "30", "--device", "cuda", "--implementation", implementation)
    done = run(*TORCHRUN, "-m", "rnn_parity.tasks.mnist", *options, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert measured(tmp_path / implementation)["metric_per_epoch"][-1] >= 0.95
