"""What a training leaves after each epoch, and how it goes on from there."""

from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .files import write_atomically
from .task import Data, LayerFactory, Run, Task, TaskError

MEASURED = ("losses", "gradient_norms", "metrics", "seconds")


def save(path: Path, task: Task, data: Data, seed: int, run: Run, optimizer: torch.optim.Optimizer) -> None:
    """Write all that a training needs to go on, the model's `state_dict` under the key "model".

    Args:
        path: the file; its folder exists.
        task: what is trained.
        data: what it is trained on.
        seed: of the training.
        run: as far as it got.
        optimizer: with its state.
    """
    content = {"model": run.model.state_dict(), "optimizer": optimizer.state_dict()}
    content |= {name: getattr(run, name) for name in MEASURED}
    buffer = BytesIO()
    torch.save(content | {"settings": _settings(task, data, seed, run)}, buffer)
    write_atomically(path, buffer.getvalue())


def restore(path: Path, task: Task, data: Data, seed: int, run: Run, optimizer: torch.optim.Optimizer) -> None:
    """Bring a new run and its optimizer to where `save` left them.

    Raises:
        TaskError: the file is damaged, or of a run with other settings.
    """
    content = _load(path, data)
    for name, value in _settings(task, data, seed, run).items():
        if (found := content["settings"].get(name)) != value:
            raise TaskError(f"--resume: expected {name} {found!r} as in {path}, came {value!r}")
    run.model.load_state_dict(content["model"])
    optimizer.load_state_dict(content["optimizer"])
    for name in MEASURED:
        setattr(run, name, content[name])


def load_checkpoint(path: Path, task: Task, layer: LayerFactory, data: Data) -> nn.Module:
    """Return a trained model from its checkpoint; `task.evaluate(model, data)` measures it again.

    Args:
        path: what a training left.
        task: the task that was trained.
        layer: builds the recurrent layer: the one trained, or any with the same parameter names.
        data: the task's data, on the device where the model shall be.

    Returns:
        The model, on the data's device.

    Raises:
        TaskError: the file is damaged.
    """
    model = task.model(layer, data).to(data.train_input.device)
    model.load_state_dict(_load(path, data)["model"])
    return model


def _settings(task: Task, data: Data, seed: int, run: Run) -> dict[str, Any]:
    of_data = data.describe()
    return asdict(task) | {"implementation": run.implementation, "seed": seed, "sha256 of the data": of_data["sha256"]}


def _load(path: Path, data: Data) -> dict[str, Any]:
    try:
        content: dict[str, Any] = torch.load(path, map_location=data.train_input.device, weights_only=True)
        missing = {"model", "optimizer", "settings", *MEASURED} - content.keys()
    except Exception as error:  # of a damaged file, unpickling says many things
        raise TaskError(f"cannot read the checkpoint {path}: {' '.join(str(error).split())}") from error
    if missing:
        raise TaskError(f"expected a checkpoint of a task, came {path} without {', '.join(sorted(missing))}")
    return content
