"""The command line that every task shares: its options are the fields of `Options` and of the task."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import App, CycloptsError, Parameter
from torch import nn

from .report import comparison, draw, write_metrics, write_weights
from .task import LayerFactory, Run, Task, TaskError, find_layer, whole
from .train import Processes, joined, own_device, train

NO_LAYER = "baseline"
DEFAULT_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class UsageError(Exception):
    """An argument that cannot be used, in one line that says what was expected and what came."""


def _check_device(_: Any, name: str) -> None:
    try:
        torch.ones(1, device=own_device(torch.device(name))).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"expected a device like cpu or cuda:0, came {name!r}: {str(error).splitlines()[0]}"
        ) from error


Device = Annotated[str, Parameter(validator=_check_device)]


@Parameter(name="*")
@dataclass(kw_only=True)
class Options:
    """What is asked of a training, whatever the task.

    Args:
        device: like cpu or cuda:0.
        seed: of the initial weights and of the order of the examples.
        epochs: how often to see the training examples; by default as often as the task needs.
        threads: CPU threads to compute with.
        out: the folder for what is left of it; runs/TASK by default.
        resume: go on after the last epoch that the checkpoints in that folder hold.
    """

    device: Device = DEFAULT_DEVICE
    seed: Annotated[int, whole(0, 2**64 - 1)] = 0
    epochs: Annotated[int | None, whole(1)] = None
    threads: Annotated[int, whole(1, os.cpu_count() or 1)] = 1
    out: Path | None = None
    resume: Annotated[bool, Parameter(negative=())] = False


@Parameter(name="*")
@dataclass(kw_only=True)
class LayerOptions(Options):
    """What is asked of a training with a recurrent layer.

    Args:
        implementation: layers to train, one after another from the same seed: builtin, manual, fused or
            MODULE:ATTRIBUTE.
    """

    implementation: Annotated[tuple[str, ...], Parameter(consume_multiple=(1, None), negative=())] = ("builtin",)


def main(task_type: type[Task], argv: Sequence[str] | None = None) -> None:
    """Train a task as the command line says.

    Args:
        task_type: the task.
        argv: the arguments; those of the process by default.

    Raises:
        SystemExit: with 2 for arguments that cannot be used, with 1 for data that cannot be had or a loss
            that is not finite; one line on the standard error says which.
    """
    options_type = Options if task_type.layer is None else LayerOptions

    def command(task: Task, options: Options) -> None:
        _train_all(task, options)

    command.__annotations__ = {"task": task_type, "options": options_type}
    command.__defaults__ = (task_type(), options_type())  # type: ignore[call-arg]
    command.__doc__ = inspect.getdoc(sys.modules[task_type.__module__])
    run_command(command, f"rnn_parity.tasks.{task_type.name}", argv)


def run_command(command: Callable[..., None], name: str, argv: Sequence[str] | None = None) -> None:
    """Call a function with what the command line says, its parameters being the options.

    Raises:
        SystemExit: with 2 and one line on the standard error, if the arguments cannot be used.
    """
    last_one_counts = Parameter(allow_repeating=True)
    app = App(
        name=name,
        help_format="plaintext",
        version_flags=[],
        default_parameter=last_one_counts,
        result_action="return_value",
    )
    app.default(command)
    try:
        app(argv, exit_on_error=False, print_error=False)
    except (CycloptsError, UsageError) as error:
        print(f"{name}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _train_all(task: Task, options: Options) -> None:
    """Do what was asked, and say in one line what stopped it."""
    layers = _layers(task, options)
    out = options.out or Path("runs", task.name)
    try:
        for name in layers:
            _folder(out, name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out: expected a folder to write to, came {str(out)!r}: {error.strerror}") from error
    try:
        with joined(torch.device(options.device)) as (processes, device):
            _run(task, layers, options, out, device, processes)
    except TaskError as error:
        sys.exit(f"{task.name}: {error}")
    except KeyboardInterrupt:
        print(f"{task.name}: interrupted; --resume goes on after the last epoch that ended", file=sys.stderr)
        sys.exit(130)


def _layers(task: Task, options: Options) -> dict[str, LayerFactory]:
    """Return what builds the recurrent layers, by the name of the implementation."""
    if task.layer is None or not isinstance(options, LayerOptions):
        return {NO_LAYER: nn.Identity}
    device = own_device(torch.device(options.device))
    try:
        return {name: find_layer(name, task.layer, device) for name in options.implementation}
    except TaskError as error:
        raise UsageError(f"--implementation: {error}") from error


def _folder(out: Path, implementation: str) -> Path:
    return out / implementation.replace(":", ".")


def _run(
    task: Task,
    layers: dict[str, LayerFactory],
    options: Options,
    out: Path,
    device: torch.device,
    processes: Processes,
) -> None:
    """Train each layer from the same seed, write its files, then compare."""
    if processes.count > 1 and not task.mean_of_examples:
        raise TaskError(f"expected one process, came {processes.count}: {task.name} cannot share a batch among them")

    def say(line: str) -> None:
        if processes.first:
            print(line, flush=True)

    data = task.load().to(device)
    title = f"data {data.name}, {device}, seed {options.seed}"
    say(f"{task.name}, {title}: {len(data.train_input)} training and {len(data.test_input)} test examples")
    settings: dict[str, Any] = {
        "epochs": options.epochs or task.epochs,
        "seed": options.seed,
        "threads": options.threads,
    }
    runs: list[Run] = []
    for name, layer in layers.items():
        say(f"{name}:")
        folder = _folder(out, name)
        run = train(
            task,
            layer,
            data,
            **settings,
            implementation=name,
            report=say,
            checkpoint=folder / "checkpoint.pt",
            resume=options.resume,
            processes=processes,
        )
        runs.append(run)
        if not processes.first:
            continue
        if closing := task.closing(run.model, data):
            say(closing)
        write_weights(folder / "model.ckpt", run.model)
        write_metrics(folder / "metrics.json", task, run, data, **settings, processes=processes.count)
    if processes.first:
        draw(out / "curves.png", task, runs, data, title)
    say(f"\n{comparison(task, runs)}\n\nwritten to {out}")
