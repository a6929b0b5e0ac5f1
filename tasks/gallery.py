"""Train every task with the built-in and the manual layers, and make the page that shows them.

    python -m rnn_parity.tasks.gallery --out docs

writes `docs/gallery.md` and a picture for each task. Where `--runs` still holds checkpoints, a run that has ended is
not trained again, and one that was stopped goes on.
"""

import argparse
import json
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch

from . import TASKS
from .command_line import main as train
from .manytomany import SHAPES
from .task import Task

INTRODUCTION = """# Gallery

Every task, trained with the built-in and with the manual layers from the same weights and batches. On the left the
loss, the built-in's line thick and the manual's thin upon it; on the right what the models answer.

"""


class Exhibit(NamedTuple):
    """A task with options of its own.

    Args:
        task: its name.
        options: beside the device, the implementations and the folder.
    """

    task: str
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of its picture and of its folder."""
        return "-".join((self.task, *(option for option in self.options if not option.startswith("--"))))

    @property
    def command(self) -> str:
        """What a reader types."""
        return " ".join((f"python -m rnn_parity.tasks.{self.task}", *self.options))


OPTIONS: dict[str, list[tuple[str, ...]]] = {
    "birnn": [("--readout", "last"), ("--readout", "final")],
    "forecast": [("--ahead", "10"), ("--data", "eeg", "--ahead", "10")],
    "manytomany": [("--shape", shape) for shape in SHAPES],
    "seq2seq": [("--direction", "to-words"), ("--direction", "to-digits", "--context", "input")],
}
"""What is shown of the tasks that have more to show than their defaults."""

EXHIBITS = tuple(Exhibit(task, options) for task in TASKS for options in OPTIONS.get(task, [()]))


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is shown and write the page.

    Args:
        argv: the arguments; those of the process by default.

    Raises:
        SystemExit: as a task's own command; no page is written then.
    """
    parser = argparse.ArgumentParser(
        prog="rnn_parity.tasks.gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    names = [exhibit.name for exhibit in EXHIBITS]
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="FOLDER", help="default %(default)s")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs", "gallery"), metavar="FOLDER", help="default %(default)s"
    )
    parser.add_argument("--device", default=default_device, help="default %(default)s")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args(argv)
    shown = [exhibit for exhibit in EXHIBITS if exhibit.name in arguments.only]
    for exhibit in shown:
        _train(exhibit, arguments.runs / exhibit.name, arguments.device)
    write_page(arguments.out, arguments.runs, shown)
    print(f"written to {arguments.out / 'gallery.md'}")


def _train(exhibit: Exhibit, folder: Path, device: str) -> None:
    task = task_type(exhibit.task)
    compared = () if task.layer is None else ("--implementation", "builtin", "manual")
    train(task, [*exhibit.options, *compared, "--device", device, "--resume", "--out", str(folder)])


def task_type(name: str) -> type[Task]:
    """Return the class of a task."""
    module = import_module(f".{name}", __package__)
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__dict__.get("name") == name
    )
    return found


def write_page(out: Path, runs: Path, shown: Sequence[Exhibit]) -> None:
    """Write the page and copy its pictures.

    Args:
        out: the folder that the page is written to, as `gallery.md`.
        runs: the folder that holds a folder for each exhibit, as its task left it.
        shown: what the page shows, in order.
    """
    pictures = out / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    lines = []
    for task, exhibits in groupby(shown, key=lambda exhibit: exhibit.task):
        lines += [f"## {task}", "", (sys.modules[task_type(task).__module__].__doc__ or "").strip(), ""]
        for exhibit in exhibits:
            shutil.copyfile(runs / exhibit.name / "curves.png", pictures / f"{exhibit.name}.png")
            lines += _part(exhibit, runs / exhibit.name)
    torch_version = f"torch {torch.__version__}, Python {platform.python_version()}"
    (out / "gallery.md").write_text(INTRODUCTION + f"Measured with {torch_version}.\n\n" + "\n".join(lines))


def _part(exhibit: Exhibit, folder: Path) -> Iterator[str]:
    """Yield the lines about one exhibit: its command, its picture, what was measured."""
    if exhibit.options:
        yield from (f"### {' '.join(exhibit.options)}", "")
    yield from (f"    {exhibit.command}", "")
    yield from (f"![{exhibit.name}: loss and answers](gallery/{exhibit.name}.png)", "")
    measured = [json.loads(path.read_text()) for path in sorted(folder.glob("*/metrics.json"))]
    data, settings = measured[0]["data"], measured[0]["settings"]
    where = measured[0]["machine"]["accelerator"] or f"the CPU, {settings['threads']} thread(s)"
    examples = f"{data['train_examples']:,} training and {data['test_examples']:,} test examples"
    yield f"Data {data['name']}: {examples}; trained on {where}, seed {settings['seed']}."
    yield ""
    yield f"| implementation | parameters | epochs | {measured[0]['metric']} | final loss | seconds an epoch |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    yield from map(_row, measured)
    yield ""


def _row(measured: dict[str, Any]) -> str:
    seconds = measured["training_seconds_per_epoch"]
    cells = (
        measured["implementation"],
        f"{measured['parameters']:,}",
        str(len(seconds)),
        f"{measured['metric_per_epoch'][-1]:.4f}",
        f"{measured['loss_per_step'][-1]:.6f}",
        f"{sum(seconds) / len(seconds):.2f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
