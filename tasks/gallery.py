"""Train every task with the built-in and the manual layers, and make the page that shows them.

    python -m rnn_parity.tasks.gallery --out docs

writes `docs/gallery.md`, a picture for each task, and `docs/gallery/results.json` with every figure of the page. Where
`--runs` still holds checkpoints, a run that has ended is not trained again, and one that was stopped goes on.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from cyclopts import Parameter

from . import TASKS
from .birnn import READOUTS
from .cli import DEFAULT_DEVICE, Device, run_command
from .cli import main as train
from .manytomany import SHAPES
from .report import write_atomically
from .task import Task

HEAD = """# Gallery

Ten small tasks, each trained with the built-in and with the manual layers from the same weights on the same batches:

"""
LEGEND = """
In every picture the built-in is the broad pale line and the manual layer the dashed one upon it. On the left the loss
of each step (gray) and the mean of those around it, below it the metric on the test examples after each epoch; on the
right what the trained models answer, with a cross where that is wrong.

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
    "birnn": [("--data", "digits", "--readout", readout) for readout in READOUTS],  # MNIST takes twelve minutes
    "forecast": [("--ahead", "10"), ("--data", "eeg", "--ahead", "10")],
    "manytomany": [("--shape", shape) for shape in SHAPES],
    "seq2seq": [("--direction", "to-words"), ("--direction", "to-digits", "--context", "input")],
}
"""What is shown of the tasks that have more to show than their defaults."""

EXHIBITS = {
    exhibit.name: exhibit
    for exhibit in (Exhibit(task, options) for task in TASKS for options in OPTIONS.get(task, [()]))
}


def _check_names(_: Any, names: Sequence[str]) -> None:
    for name in names:
        if name not in EXHIBITS:
            raise ValueError(f"expected some of {', '.join(EXHIBITS)}, came {name!r}")


Names = Annotated[tuple[str, ...], Parameter(consume_multiple=(1, None), negative=(), validator=_check_names)]


def make(
    *,
    out: Path = Path("docs"),
    runs: Path = Path("runs", "gallery"),
    device: Device = DEFAULT_DEVICE,
    only: Names = tuple(EXHIBITS),
) -> None:
    """Train every task with the built-in and the manual layers, and make the page that shows them.

    Args:
        out: the folder of the page.
        runs: the folder that each task leaves its own in; what has ended there is not trained again.
        device: like cpu or cuda:0.
        only: what to train; the rest of the page stays as it was.
    """
    pictures = out / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    file = pictures / "results.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    for name in only:
        exhibit, folder = EXHIBITS[name], runs / name
        task = task_type(exhibit.task)
        compared = () if task.layer is None else ("--implementation", "builtin", "manual")
        train(task, [*exhibit.options, *compared, "--device", device, "--resume", "--out", str(folder)])
        results[name] = measured(folder)
        shutil.copyfile(folder / "curves.png", pictures / f"{name}.png")
    results = {name: results[name] for name in EXHIBITS if name in results}
    write_atomically(file, (json.dumps(results, indent=1) + "\n").encode())
    write_atomically(out / "gallery.md", page(results).encode())
    print(f"written to {out / 'gallery.md'}")


def task_type(name: str) -> type[Task]:
    """Return the class of a task."""
    module = import_module(f".{name}", __package__)
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__dict__.get("name") == name
    )
    return found


def measured(folder: Path) -> dict[str, Any]:
    """Return what the page says of one exhibit, from what its task left in a folder."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*/metrics.json"))]
    first = runs[0]
    versions = {name: first["versions"][name] for name in ("python", "torch")}
    where = first["machine"]["accelerator"] or f"the CPU, threads: {first['settings']['threads']}"
    return {name: first[name] for name in ("title", "metric", "data")} | {
        "seed": first["settings"]["seed"],
        "where": where,
        "versions": versions,
        "runs": [
            {
                "implementation": run["implementation"],
                "parameters": run["parameters"],
                "epochs": len(run["metric_per_epoch"]),
                "metric": run["metric_per_epoch"][-1],
                "final_loss": run["loss_per_step"][-1],
                "seconds_per_epoch": sum(run["training_seconds_per_epoch"]) / len(run["training_seconds_per_epoch"]),
            }
            for run in runs
        ],
    }


def page(results: Mapping[str, Any]) -> str:
    """Return the page of what was measured, by the names of the exhibits: first all at a glance, then each."""
    lines = ["| picture | what is learned | metric | built-in | manual |", "| --- | --- | --- | ---: | ---: |"]
    for name, found in results.items():
        reached = [f"{run['metric']:.4f}" for run in found["runs"]]
        lines.append(f"| [{name}](gallery/{name}.png) | {found['title']} | {found['metric']} | {_pair(reached)} |")
    lines.append(LEGEND.rstrip("\n") + "\n")
    for task, names in groupby(results, key=lambda name: EXHIBITS[name].task):
        about = sys.modules[task_type(task).__module__].__doc__ or ""
        lines += [f"## {task}", "", about.strip(), ""]
        for name in names:
            lines += _part(EXHIBITS[name], results[name])
    return HEAD + "\n".join(lines).rstrip("\n") + "\n"


def _pair(reached: Sequence[str]) -> str:
    """Return two cells; a baseline has no recurrent layer to be built in or manual, and stands in the first."""
    return " | ".join([*reached, "none"][:2])


def _part(exhibit: Exhibit, found: dict[str, Any]) -> Iterator[str]:
    """Yield the lines about one exhibit: its command, its picture, what was measured."""
    if exhibit.options:
        yield from (f"### {' '.join(exhibit.options)}", "")
    yield from (f"    {exhibit.command}", "")
    yield from (f"![{found['title']}](gallery/{exhibit.name}.png)", "")
    data, versions = found["data"], found["versions"]
    yield f"Data {data['name']}: {data['train_examples']:,} training and {data['test_examples']:,} test examples."
    yield f"Trained on {found['where']}, seed {found['seed']}, torch {versions['torch']}, Python {versions['python']}."
    yield ""
    yield f"| implementation | parameters | epochs | {found['metric']} | final loss | seconds an epoch |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for run in found["runs"]:
        cells = (f"{run['parameters']:,}", str(run["epochs"]), f"{run['metric']:.4f}", f"{run['final_loss']:.6f}")
        yield f"| {run['implementation']} | {' | '.join(cells)} | {run['seconds_per_epoch']:.2f} |"
    yield ""


def main(argv: Sequence[str] | None = None) -> None:
    """Train what is shown and write the page.

    Args:
        argv: the arguments; those of the process by default.

    Raises:
        SystemExit: as a task's own command; no page is written then.
    """
    run_command(make, "rnn_parity.tasks.gallery", argv)


if __name__ == "__main__":
    main()
