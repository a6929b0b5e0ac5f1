"""Files that are either whole or not there, and the checkpoint."""

import os
import secrets
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from .task import Data, LayerFactory, Task


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that no reader ever sees half written, whoever else writes it at the same time.

    Args:
        path: the file, replaced if it exists; its folder exists.
        content: the whole file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_checkpoint(model: nn.Module, path: Path) -> None:
    """Write a model's `state_dict` under the key "model"."""
    buffer = BytesIO()
    torch.save({"model": model.state_dict()}, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: Path, task: Task, layer: LayerFactory, data: Data) -> nn.Module:
    """Return a trained model from its checkpoint; `task.evaluate(model, data)` measures it again.

    Args:
        path: what `save_checkpoint` wrote.
        task: the task that was trained.
        layer: builds the recurrent layer: the one trained, or any with the same parameter names.
        data: the task's data, on the device where the model shall be.

    Returns:
        The model, on the data's device.
    """
    model = task.model(layer, data).to(data.train_input.device)
    model.load_state_dict(torch.load(path, map_location=data.train_input.device, weights_only=True)["model"])
    return model
