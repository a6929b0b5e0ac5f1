"""What is left of a task's runs: numbers, a table and a picture."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from .files import write_atomically
from .task import Data, Run, Task

LIBRARIES = ("rnn-parity", "torchvision", "numpy", "scikit-learn")


def write_metrics(path: Path, task: Task, run: Run, data: Data, **settings: int) -> None:
    """Write everything measured in a run as JSON.

    Args:
        path: the file; its folder exists.
        task: what was trained.
        run: the run.
        data: what it was trained on.
        settings: of the run, beside those of the task.
    """
    device = data.train_input.device
    content = {
        "task": task.name,
        "implementation": run.implementation,
        "settings": asdict(task) | settings | {"device": str(device)},
        "data": data.describe(),
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "metric": task.metric,
        "metric_per_epoch": run.metrics,
        "loss": task.loss_name,
        "loss_per_step": run.losses,
        "gradient_norm_per_step": run.gradient_norms,
        "training_seconds_per_epoch": run.seconds,
        "machine": _machine(device),
        "versions": _versions(),
    }
    write_atomically(path, json.dumps(content, indent=1).encode())


def write_weights(path: Path, model: nn.Module) -> None:
    """Write a model's `state_dict`, to be read by `torch.load(path, weights_only=True)`."""
    buffer = BytesIO()
    torch.save(model.state_dict(), buffer)
    write_atomically(path, buffer.getvalue())


def _versions() -> dict[str, str]:
    interpreter = {
        "python": platform.python_version(),
        "torch": torch.__version__,
    }  # torch with its CUDA build
    return interpreter | {name: version(name) for name in LIBRARIES}


def _machine(device: torch.device) -> dict[str, Any]:
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"platform": platform.platform(), "cores": os.cpu_count(), "accelerator": accelerator}


def comparison(task: Task, runs: Sequence[Run]) -> str:
    """Return a table with one line per run: implementation, last loss, last metric, seconds of training."""
    head = ("implementation", "final loss", task.metric, "seconds")
    rows = [(r.implementation, f"{r.losses[-1]:.6f}", f"{r.metrics[-1]:.4f}", f"{sum(r.seconds):.2f}") for r in runs]
    first, *others = (max(map(len, column)) for column in zip(head, *rows, strict=True))
    return "\n".join(
        "  ".join([name.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, others, strict=True))])
        for name, *cells in (head, *rows)
    )


def draw(path: Path, task: Task, runs: Sequence[Run], data: Data, title: str) -> None:
    """Draw the runs' losses over one another, and beside them what the models answer (`task.illustrate`).

    Args:
        path: the PNG file; its folder exists.
        task: what was trained.
        runs: the runs, each drawn thinner than the one before, so that equal curves all show.
        data: what they were trained on.
        title: stands above.
    """
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    left, right = figure.subplots(1, 2)
    _draw_losses(left, task, runs)
    task.illustrate(right, runs, data)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_atomically(path, buffer.getvalue())


def _draw_losses(axes: Axes, task: Task, runs: Sequence[Run]) -> None:
    """Draw pale the loss of each step, strong their running mean."""
    window = 1 + max(len(run.losses) for run in runs) // 50
    for place, run in enumerate(runs):
        step = np.arange(1, len(run.losses) + 1)
        mean = np.convolve(run.losses, np.full(window, 1 / window), mode="valid")
        label = f"{run.implementation} ({task.metric} {run.metrics[-1]:.4f})"
        axes.plot(step, run.losses, color=f"C{place}", alpha=0.3, linewidth=0.7)
        axes.plot(step[window - 1 :], mean, color=f"C{place}", linewidth=1.5 * (len(runs) - place), label=label)
    axes.set(xlabel=f"step (batch of {task.batch_size})", ylabel=task.loss_name)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(title=f"mean of {window} steps, each step pale behind" if window > 1 else None)


def show_images(axes: Axes, images: Tensor, captions: Sequence[str]) -> None:
    """Show images (count, rows, pixels) side by side, each over its caption."""
    count, _, pixels = images.shape
    axes.imshow(np.concatenate(list(images.cpu().numpy()), axis=1), cmap="gray_r", aspect="equal")
    axes.set_xticks([pixels * (k + 0.5) - 0.5 for k in range(count)], captions)
    axes.set_yticks([])
    axes.tick_params(length=0)
