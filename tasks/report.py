"""What is left of a task's runs: numbers, a table and a picture."""

import json
import os
import platform
import secrets
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn

from .task import Data, Run, Task

LIBRARIES = ("rnn-parity", "torchvision", "numpy", "scikit-learn")
WRONG = "crimson"


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


def state_on_cpu(model: nn.Module) -> dict[str, Tensor]:
    """Return a model's `state_dict` in a form that can be read where its device is not."""
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def write_weights(path: Path, model: nn.Module) -> None:
    """Write a model's `state_dict`, to be read by `torch.load(path, weights_only=True)` on any machine."""
    buffer = BytesIO()
    torch.save(state_on_cpu(model), buffer)
    write_atomically(path, buffer.getvalue())


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
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    content = {
        "task": task.name,
        "title": task.title,
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
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "accelerator": accelerator},
        "versions": _versions(),
    }
    write_atomically(path, json.dumps(content, indent=1).encode())


def _versions() -> dict[str, str]:
    interpreter = {"python": platform.python_version(), "torch": torch.__version__}  # torch with its CUDA build
    return interpreter | {name: version(name) for name in LIBRARIES}


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
    """Draw the runs' losses over the metric, and beside them what the models answer (`task.illustrate`).

    Args:
        path: the PNG file; its folder exists.
        task: what was trained.
        runs: the runs.
        data: what they were trained on.
        title: the second line of the title; the first says what was learned.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    reached = ", ".join(f"{run.implementation} {run.metrics[-1]:.4f}" for run in runs)
    figure.suptitle(f"{task.title}\n{task.metric}: {reached}  ({title})", fontsize=11)
    several = max(len(run.metrics) for run in runs) > 1
    places = figure.subplot_mosaic("ac;bc" if several else "ac", height_ratios=(3, 2) if several else None)
    _draw_losses(places["a"], task, runs)
    if several:
        places["b"].sharex(places["a"])
        places["a"].set_xlabel("")
        _draw_metrics(places["b"], task, runs)
    task.illustrate(places["c"], runs, data)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    write_atomically(path, buffer.getvalue())


def style(place: int) -> dict[str, Any]:
    """Return the line of a run: of equal ones, each later one is thinner and dashed, so that all of them show."""
    width = (4.5, 1.8, 1.8, 1.8)[place % 4]
    return {"color": colour(place), "linestyle": ("-", "--", ":", "-.")[place % 4], "linewidth": width}


def colour(place: int) -> str:
    """Return the colour of a run."""
    return ("#8ab6dc", "#b34700", "#2e7d32", "#6a3d9a")[place % 4]


def _draw_losses(axes: Axes, task: Task, runs: Sequence[Run]) -> None:
    """Draw the loss of each step in gray, and over it the mean of those around it."""
    reach = max(len(run.losses) for run in runs) // 100
    for place, run in enumerate(runs):
        steps = np.arange(1, len(run.losses) + 1)
        axes.plot(steps, run.losses, color="0.85", linewidth=0.7, zorder=1)
        axes.plot(steps, centred_mean(run.losses, reach), **style(place), label=run.implementation)
    axes.set(xlabel=f"step (batch of {task.batch_size})", ylabel=task.loss_name)
    scale(axes, [loss for run in runs for loss in run.losses])
    axes.legend(title=f"mean of {2 * reach + 1} steps, each in gray" if reach else None, fontsize=9, title_fontsize=9)


def _draw_metrics(axes: Axes, task: Task, runs: Sequence[Run]) -> None:
    """Draw the metric where it was measured: after the last step of each epoch."""
    for place, run in enumerate(runs):
        steps = len(run.losses) // len(run.metrics) * np.arange(1, len(run.metrics) + 1)
        marker = "o" if len(steps) < 50 else ""
        axes.plot(steps, run.metrics, **style(place), marker=marker, markersize=4 if place else 8)
    axes.set(xlabel=f"step (batch of {task.batch_size}); measured after each epoch", ylabel=task.metric)
    scale(axes, [metric for run in runs for metric in run.metrics])


def centred_mean(values: Sequence[float], reach: int) -> NDArray[np.float64]:
    """Return at each place the mean of the values around it: as many before as behind, so that it does not lag.

    Args:
        values: any number of them.
        reach: how many on each side; near the start, where curves are steep, as many as there are before.
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    side = np.minimum(reach, place)
    first, end = place - side, np.minimum(place + side + 1, len(values))
    mean: NDArray[np.float64] = (sums[end] - sums[first]) / (end - first)
    return mean


def scale(axes: Axes, values: Sequence[float]) -> None:
    """Draw on a logarithmic scale if one value dwarfs the rest."""
    if min(values) > 0 and max(values) > 8 * float(np.median(values)):
        axes.set_yscale("log")
    axes.grid(alpha=0.3)


def show_images(axes: Axes, images: Tensor, answers: Sequence[Sequence[str]], right: Sequence[str], shown: int) -> None:
    """Show images over what each model takes them for: the first of them, then those that a model got wrong.

    Args:
        axes: to draw on.
        images: (count, rows, pixels).
        answers: of each model, one for each image.
        right: the right answers.
        shown: how many images, in rows of eight; a third of them are the first.
    """
    wrong = [k for k in range(shown // 3, len(right)) if any(each[k] != right[k] for each in answers)]
    chosen = [*range(shown // 3), *wrong[: shown - shown // 3]]
    columns, gap = 8, 0.28 * (1 + len(answers))  # of an image's height
    for place, k in enumerate(chosen):
        x, y = place % columns, (1 + gap) * (place // columns)
        axes.imshow(images[k].cpu().numpy(), cmap="gray_r", extent=(x + 0.1, x + 0.9, y + 0.95, y + 0.05))
        for line, each in enumerate(answers):
            text = each[k] if each[k] == right[k] else f"{each[k]} \N{BALLOT X}"
            ink = "black" if each[k] == right[k] else WRONG
            height = y + 1.1 + 0.26 * line
            axes.text(x + 0.06, height, "\N{BLACK CIRCLE}", color=colour(line), va="center", fontsize=8)
            axes.text(x + 0.55, height, text, color=ink, ha="center", va="center", fontsize=8)
    rows = -(-len(chosen) // columns)
    axes.set(xlim=(0, columns), ylim=((1 + gap) * rows, 0), aspect="auto", xticks=[], yticks=[])
    of_wrong = f"the first {len(chosen) - shown // 3} of {len(wrong)} that any got wrong (\N{BALLOT X})"
    axes.set_xlabel(f"the first {shown // 3} of {len(right)} test images, then {of_wrong}")


def show_answers(axes: Axes, questions: Sequence[str], answers: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    """Write each model's answers, behind a dot in its colour, to questions, and the right one behind a wrong one.

    Args:
        axes: to draw on.
        questions: all test examples; some are shown, up to half of them such that a model got wrong.
        answers: of each model, one for each question.
        right: the right answers.
    """
    texts = [
        [
            answer if answer == truth else f"{answer} \N{BALLOT X} ({truth})"
            for answer, truth in zip(each, right, strict=True)
        ]
        for each in answers
    ]
    width, longest = (max(len(t) - t.count(" ") / 2 for t in some) for some in (questions, chain(*texts)))
    width, longest = width + 3, longest + 4  # letters, a space being half of one
    columns = max(1, min(3, int(90 / (width + longest))))
    shown = min(10 * columns, len(right))
    wrong = [k for k in range(len(right)) if any(each[k] != right[k] for each in answers)]
    first = wrong[: shown // 2]
    chosen = [*first, *(k for k in range(len(right)) if k not in first)][:shown]
    rows = -(-len(chosen) // columns)
    for spot, k in enumerate(chosen):
        x, y = spot // rows / columns + 0.01, spot % rows
        axes.text(x, y, questions[k], va="center", fontsize=8)
        x += width / (width + longest) / columns
        for place, each in enumerate(answers):
            line = y + (place - (len(answers) - 1) / 2) * rows / 25
            ink = "black" if each[k] == right[k] else WRONG
            axes.text(x, line, "\N{BLACK CIRCLE}", color=colour(place), va="center", fontsize=8)
            axes.text(x + 0.025, line, texts[place][k], color=ink, va="center", fontsize=7.5)
    axes.set(xlim=(0, 1), ylim=(rows - 0.4, -0.6), xticks=[], yticks=[])
    axes.set_xlabel(f"{len(chosen)} of {len(right)} test examples; {len(wrong)} were answered wrong (\N{BALLOT X})")
