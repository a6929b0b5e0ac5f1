"""The command line that every task shares."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from torch import nn

from .distributed import Processes, joined
from .layers import find_layer
from .results import comparison, draw, write_metrics, write_weights
from .task import LayerFactory, Run, Task, TaskError
from .training import train

NO_LAYER = "baseline"


def main(task_type: type[Task], argv: Sequence[str] | None = None) -> None:
    """Train a task as the command line says.

    Args:
        task_type: the task.
        argv: the arguments; those of the process by default.

    Raises:
        SystemExit: with 2 for arguments that cannot be used, with 1 for data that cannot be had or a loss
            that is not finite; one line on the standard error says which.
    """
    parser = _parser(task_type)
    arguments = parser.parse_args(argv)
    options = {f.name: getattr(arguments, f.name) for f in fields(task_type) if hasattr(arguments, f.name)}
    try:
        task = task_type(**options)
        layers = _layers(task, arguments)
        for name in layers:
            _folder(arguments.out, name).mkdir(parents=True, exist_ok=True)
    except TaskError as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"argument --out: expected a folder to write to, came {str(arguments.out)!r}: {error.strerror}")
    try:
        with joined(arguments.device) as (processes, arguments.device):
            _run(task, layers, arguments, processes)
    except TaskError as error:
        sys.exit(f"{task.name}: {error}")
    except KeyboardInterrupt:
        print(f"{task.name}: interrupted; --resume goes on after the last epoch that ended", file=sys.stderr)
        sys.exit(130)


def _layers(task: Task, arguments: argparse.Namespace) -> dict[str, LayerFactory]:
    """Return what builds the recurrent layers, by the name of the implementation."""
    if task.layer is None:
        return {NO_LAYER: nn.Identity}
    try:
        return {name: find_layer(name, task.layer, arguments.device) for name in arguments.implementation}
    except TaskError as error:
        raise TaskError(f"argument --implementation: {error}") from error


def _run(task: Task, layers: dict[str, LayerFactory], arguments: argparse.Namespace, processes: Processes) -> None:
    """Train each layer from the same seed, write its files, then compare."""
    if processes.count > 1 and not task.mean_of_examples:
        raise TaskError(f"expected one process, came {processes.count}: {task.name} cannot share a batch among them")
    say = _say if processes.first else _keep_silent
    data = task.load().to(arguments.device)
    title = f"{task.name}, data {data.name}, {arguments.device}, seed {arguments.seed}"
    say(f"{title}: {len(data.train_input)} training and {len(data.test_input)} test examples")
    settings = {name: getattr(arguments, name) for name in ("epochs", "seed", "threads")}
    settings["epochs"] = settings["epochs"] or task.epochs
    runs: list[Run] = []
    for name, layer in layers.items():
        say(f"{name}:")
        folder = _folder(arguments.out, name)
        to_go_on = {"checkpoint": folder / "checkpoint.pt", "resume": arguments.resume}
        run = train(task, layer, data, **settings, **to_go_on, implementation=name, report=say, processes=processes)
        runs.append(run)
        if not processes.first:
            continue
        if closing := task.closing(run.model, data):
            say(closing)
        write_weights(folder / "model.ckpt", run.model)
        write_metrics(folder / "metrics.json", task, run, data, **settings, processes=processes.count)
    if processes.first:
        draw(arguments.out / "curves.png", task, runs, data, title)
    say(f"\n{comparison(task, runs)}\n\nwritten to {arguments.out}")


def _parser(task_type: type[Task]) -> argparse.ArgumentParser:
    module = sys.modules[task_type.__module__]
    parser = argparse.ArgumentParser(prog=f"rnn_parity.tasks.{task_type.name}", description=module.__doc__)
    add = parser.add_argument
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    if task_type.layer is not None:
        add(
            "--implementation",
            nargs="+",
            default=["builtin"],
            metavar="NAME",
            help="layers to train: builtin, manual, fused or MODULE:ATTRIBUTE, one after another from the same seed; "
            "default builtin",
        )
    add("--device", type=_device, default=default_device, help="default %(default)s")
    add("--seed", type=integer(0, 2**64 - 1), default=0, metavar="N", help="default %(default)s")
    add(
        "--epochs",
        type=integer(1),
        metavar="N",
        help="how often to see the training examples; default: as often as the task needs",
    )
    add("--out", type=Path, default=Path("runs", task_type.name), metavar="FOLDER", help="default %(default)s")
    add("--resume", action="store_true", help="go on after the last epoch that the checkpoints in FOLDER hold")
    threads = integer(1, os.cpu_count() or 1)
    add("--threads", type=threads, default=1, metavar="N", help="CPU threads to compute with; default 1")
    task_type.add_arguments(parser)
    return parser


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return what reads an argument that is a whole number within limits."""
    expected = f"expected a whole number from {least} {'up' if most is None else f'to {most}'}"

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(f"{expected}, came {text!r}")
        return int(text)

    return parse


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise argparse.ArgumentTypeError(f"expected a device like cpu or cuda:0, came {text!r}: {reason}") from error
    return device


def _folder(out: Path, implementation: str) -> Path:
    return out / implementation.replace(":", ".")


def _say(line: str) -> None:
    print(line, flush=True)


def _keep_silent(line: str) -> None:
    pass
