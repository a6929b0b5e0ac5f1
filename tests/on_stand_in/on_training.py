"""Tasks on a CUDA device: what is left of a training there, and what going on costs. Run by `test_stand_in.py`."""

from pathlib import Path

import pytest
import torch

from rnn_parity.tasks import cli
from rnn_parity.tasks.hello import Hello
from rnn_parity.tasks.task import Run, find_layer
from rnn_parity.tasks.train import build, restore, train
from rnn_parity.tests.cuda_stand_in.control import Counts, counted

SEED = 3


def trained(checkpoint: Path, epochs: int, resume: bool = False) -> Run:
    task = Hello()
    layer, data = find_layer("manual", "RNN", "cuda"), task.load().to("cuda")
    options = {"seed": SEED, "report": lambda line: None, "checkpoint": checkpoint, "resume": resume}
    return train(task, layer, data, epochs=epochs, **options)  # type: ignore[arg-type]


def test_a_training_that_is_resumed_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole.pt", 4)
    trained(tmp_path / "parts.pt", 2)
    parts = trained(tmp_path / "parts.pt", 4, resume=True)
    assert (whole.losses, whole.gradient_norms, whole.metrics) == (parts.losses, parts.gradient_norms, parts.metrics)
    assert all(tensor.is_cuda for tensor in parts.model.state_dict().values())


def cost_of_a_step(checkpoint: Path | None) -> Counts:
    """Return what a step of the optimizer asks of the device, of a new run or of one that goes on."""
    task = Hello()
    data = task.load().to("cuda")
    run = Run("", build(task, find_layer("manual", "RNN", "cuda"), data, seed=SEED))
    optimizer = task.optimizer(run.model)
    if checkpoint is not None:
        restore(checkpoint, task, data, SEED, run, optimizer)
    for _ in range(2):
        (loss,) = task.losses(run.model, data, [torch.arange(len(data.train_input), device="cuda")])
        loss.backward()  # type: ignore[no-untyped-call]
        counts, _ = counted(optimizer.step)
    return counts


def test_a_resumed_optimizer_asks_no_more_of_the_device_than_a_new_one(tmp_path: Path) -> None:
    trained(tmp_path / "checkpoint.pt", 1)
    new, resumed = cost_of_a_step(None), cost_of_a_step(tmp_path / "checkpoint.pt")
    assert new == resumed
    assert (new.to_device, new.to_host, new.waits) == (0, 0, 0)
    assert new.kernels > 0


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two devices")
def test_a_process_of_several_touches_no_device_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    before = torch.cuda.memory_reserved(0)
    try:
        cli._check_device(None, "cuda")
        options = cli.LayerOptions(device="cuda", implementation=("manual",))
        assert cli._layers(Hello(), options).keys() == {"manual"}
        assert torch.cuda.current_device() == 1
        assert (torch.cuda.memory_reserved(0), torch.cuda.memory_reserved(1) > 0) == (before, True)
    finally:
        torch.cuda.set_device(0)
