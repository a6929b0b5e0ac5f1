"""Time the built-in, manual and fused layers side by side in one process, and measure their memory.

    python -m rnn_parity.bench.compare

writes `compare.json`, `compare.md` and the pictures into `benchmarks/` and prints the table. In each round every arm
runs once, in the next in reverse order; a ratio to the built-in is the median over the rounds, with its 95 % interval.
Before an arm is timed its results are held against the built-in's. All is done with as many threads as PyTorch takes by
itself, and the table again with one. What was measured is written even where the run is ended by Ctrl-C or an error.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from cpuinfo import get_cpu_info  # comes with pytest-benchmark
from tqdm import tqdm

from rnn_parity.bench.arms import (
    ARMS,
    COMPILE_SECONDS,
    COMPILED_SHAPE,
    KINDS,
    MODULES,
    SHAPES,
    STEPS,
    STREAM,
    LeftOut,
    OutOfTime,
    Setting,
    Shape,
    Truth,
    arms_of,
    captured,
    make_arm,
    make_call,
    make_input,
    products,
    time_limit,
)
from rnn_parity.bench.limit import limit
from rnn_parity.bench.long import measure_long
from rnn_parity.bench.memory import peak_bytes
from rnn_parity.bench.pictures import draw
from rnn_parity.bench.rounds import Call, ratio, timed_rounds
from rnn_parity.bench.table import machine, report, short_table, wrong_arms
from rnn_parity.judge.core.candidate import one_line

# What cuDNN warns of where it has to copy a layer's weights: PyTorch puts those of bfloat16 nowhere in one piece.
SCATTERED = "RNN module weights are not part of single contiguous chunk of memory"

HIDDEN = (16, 64, 128, 256, 512)  # swept at B64 T28 I28
BATCH = (1, 8, 64, 256)  # swept at T28 I28 H64
ON_CUDA = (32, 64, 128, 256, 512)  # HIDDEN there
STEPS_ON_CUDA = (28, 128, 1024)  # swept at B64 I28 H64
PRECISIONS = (("float32", False), ("float32", True), ("bfloat16", False), ("float16", False))  # and whether in TF32
SECONDS, QUICK_SECONDS = 480, 60
LONG = (64, 256, 1024, 4096)
MNIST: Literal["mnist", "digits"] = "mnist"  # the data of the epoch


def settings(device: str) -> list[Setting]:
    """Return every setting of the table: on a GPU the shapes in each precision, eager and as a graph.

    There what a goal is of comes first: the run may be short.
    """
    if device == "cuda":
        ways = [(dtype, tf32, graph) for (dtype, tf32), graph in product(PRECISIONS, (False, True))]
        small, middle = SHAPES[1], SHAPES[2]
        plain = [Setting(kind, shape) for shape, kind in product((small, middle, *SHAPES), KINDS)]
        packed = [Setting(kind, small, packed=True) for kind in KINDS]
        both = [Setting(kind, middle, bidirectional=True) for kind in KINDS]
        with_goals = [*packed, *plain[: 2 * len(KINDS)], *both]
        in_all = [
            replace(setting, dtype=dtype, tf32=tf32, graph=graph)
            for some in (with_goals, plain)
            for (dtype, tf32, graph), setting in product(ways, some)
        ]
        return [*dict.fromkeys([*in_all, *(Setting(kind, COMPILED_SHAPE) for kind in KINDS), *variants()])]
    return [
        *(Setting(kind, shape) for kind in KINDS for shape in [*SHAPES, COMPILED_SHAPE, STREAM]),
        *variants(),
        Setting("LSTM", SHAPES[1], dtype="bfloat16"),
    ]


def variants() -> list[Setting]:
    """Return the settings that are no plain float32 layer of one direction."""
    small, middle = SHAPES[1], SHAPES[2]
    return [
        *(Setting(kind, middle, bidirectional=True) for kind in KINDS),
        Setting("LSTM", middle, num_layers=2, bidirectional=True),
        *(Setting(kind, small, dtype="float64") for kind in KINDS),
        *(Setting(kind, small, packed=True) for kind in KINDS),
        Setting("LSTM", small, proj_size=32),
    ]


def sweeps(device: str) -> list[Setting]:
    """Return the settings of the pictures: over the hidden size, and over the batch; on a GPU in each precision.

    There over the steps too, and over the hidden size of packed input.
    """
    on_cuda = device == "cuda"
    widths = [Shape(64, 28, 28, H) for H in (ON_CUDA if on_cuda else HIDDEN)]
    shapes = dict.fromkeys([*widths, *(Shape(B, 28, 28, 64) for B in BATCH)])
    if not on_cuda:
        return [Setting(kind, shape) for kind in KINDS for shape in shapes]
    shapes |= dict.fromkeys(Shape(64, T, 28, 64) for T in STEPS_ON_CUDA)
    return [
        Setting(kind, shape, dtype, tf32=tf32, packed=packed)
        for packed, some in ((False, [*shapes]), (True, widths))
        for shape, (dtype, tf32), kind in product(some, PRECISIONS, KINDS)
    ]


class Calls(NamedTuple):
    """The calls of a setting's arms, and what became of the other arms.

    Args:
        timed: by arm, the built-in's first.
        left_out: why an arm has no place in the setting.
        wrong: how the results of an arm are wrong, or what it raised; of these the built-in alone is timed.
        said: what an arm warned of.
    """

    timed: dict[str, Call]
    left_out: dict[str, str]
    wrong: dict[str, str]
    said: dict[str, str]


def make_calls(setting: Setting, step: str, arms: Sequence[str], device: str) -> Calls:
    """Build each arm's call and hold its results against the truth."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SCATTERED)
        truth, x = Truth(setting, step, device), make_input(setting, device)
    found = Calls({}, {}, {}, {})
    for name in arms:
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.filterwarnings("always", SCATTERED)
                call = make_call(step, make_arm(name, setting, device), *x)
                if setting.graph:
                    call = captured(call)
                with time_limit(COMPILE_SECONDS) if name == "compiled" else nullcontext():
                    results = call()
            if caught:
                found.said[name] = "its weights do not lie in one piece, and are copied into one at each call"
            if name == "builtin":
                found.timed[name] = call  # with which all others are compared
            truth.assert_equal_results(results)
            found.timed[name] = call
        except LeftOut as reason:
            found.left_out[name] = str(reason)
        except OutOfTime:
            found.left_out[name] = f"compiling took longer than {COMPILE_SECONDS} s"
        except torch._dynamo.exc.TorchDynamoException as error:
            found.left_out[name] = f"not compiled: {str(error).splitlines()[0]}"
        except Exception as error:  # one arm's fault must not cost what all others took
            found.wrong[name] = one_line(error)
    return found


def measure(setting: Setting, step: str, arms: Sequence[str], device: str, seconds: float) -> dict[str, Any]:
    """Time the arms of a setting side by side.

    Args:
        setting: what they compute.
        step: "forward" or "training".
        arms: of `ARMS`, "builtin" first.
        device: "cpu" or "cuda".
        seconds: how long to take rounds.

    Returns:
        The setting, and for each arm its median time, its ratio to the built-in's with the interval's ends, the number
        of rounds and, in training, the bytes at its peak; the limit on the CPU; and what became of the arms that were
        not timed.
    """
    with products(setting.tf32), warnings.catch_warnings():
        warnings.filterwarnings("ignore", SCATTERED)
        calls = make_calls(setting, step, arms, device)
        rounds = timed_rounds(calls.timed, seconds, device) if "builtin" in calls.timed else {}
        # A replayed graph allocates nothing: its memory is its own for good.
        weighed = calls.timed if step == "training" and not setting.graph else {}
        peaks = {name: peak_bytes(call, device) for name, call in weighed.items()}
    found = {
        name: {
            "seconds": float(np.nanmedian(times)),
            **ratio(times, rounds["builtin"])._asdict(),
            "rounds": int(np.isfinite(times).sum()),
            "peak_bytes": peaks.get(name),
        }
        for name, times in rounds.items()
    }
    described = {**vars(setting), "shape": setting.shape._asdict(), "name": setting.name}
    beside = {"left_out": calls.left_out, "wrong": calls.wrong, "said": calls.said}
    within = {"threads": torch.get_num_threads(), "limit": limit(setting, step) if device == "cpu" else None}
    return {"setting": described, "step": step, **within, "arms": found, **beside}


def few() -> list[Setting]:
    """Return the settings of `--quick`: the smaller shapes of each kind."""
    return [Setting(kind, shape) for kind in KINDS for shape in SHAPES[:3]]


def run(
    device: str,
    arms: Sequence[str],
    seconds: float,
    lengths: Sequence[int],
    threads: Sequence[int] = (1,),
    quick: bool = False,
) -> dict[str, Any]:
    """Measure everything.

    Args:
        device: "cpu" or "cuda".
        arms: of `ARMS`, "builtin" first.
        seconds: for all rounds together; what surrounds them comes on top.
        lengths: steps of the long sequences.
        threads: how many to compute with; what is not in the table is measured with the first number alone.
        quick: measure some of it: few shapes, no long sequences, no epoch.
    """
    start = time.perf_counter()
    swept_arms = [name for name in arms if name in MODULES]
    if device == "cuda":  # where there is more to sweep
        swept_arms = [name for name in swept_arms if name not in ("manual", "operations")]
    chosen, kinds = (few(), ()) if quick else (settings(device), KINDS)
    first, *others = threads
    todo = [(first, setting, step, arms) for setting in chosen for step in STEPS]
    swept = [setting for setting in sweeps(device) if setting not in chosen and not quick]
    todo += [(first, setting, "training", swept_arms) for setting in swept]
    todo += [(count, setting, step, arms) for count in others for setting in chosen for step in STEPS]
    share = seconds / (len(todo) + 10 * len(kinds))  # a long sequence is worth ten settings
    timings = []
    long: list[dict[str, Any]] = []
    interrupted = None
    try:
        for count, setting, step, timed_arms in tqdm(todo, unit="setting", disable=None):
            torch.set_num_threads(count)
            timings.append(measure(setting, step, timed_arms, device, share))
        torch.set_num_threads(first)
        for kind in kinds:
            long.append(measure_long(kind, swept_arms, lengths, device, 10 * share))
    except KeyboardInterrupt:
        interrupted = "Ctrl-C"
    except Exception as error:  # such as a device that is lost: what was measured before is kept
        traceback.print_exc()
        interrupted = one_line(error)
    return {
        "machine": {
            "cpu": get_cpu_info().get("brand_raw", "unknown"),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
            "clocks": clocks() if device == "cuda" else None,
        },
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "threads": list(threads),
        "timings": timings,
        "long": long,
        "interrupted": interrupted,
        "epoch": None if quick or interrupted or device == "cuda" else epoch(swept_arms),
        "seconds": round(time.perf_counter() - start),
    }


def clocks() -> str:
    """Return what nvidia-smi says of the first card's clocks and power, or why it says nothing."""
    asked = "clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,driver_version"
    try:
        command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv", "--id=0"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown: {one_line(error)}"
    return "; ".join(said.strip().splitlines())


def epoch(arms: Sequence[str]) -> dict[str, Any]:
    """Return an epoch of MNIST, for which the tasks have to be installed."""
    try:
        from rnn_parity.bench.epoch import measure_epoch
        from rnn_parity.tasks.mnist import Mnist
    except ModuleNotFoundError as error:
        return {"data": MNIST, "arms": {}, "left_out": str(error)}
    return measure_epoch(Mnist(data=MNIST), [name for name in ("builtin", "fused") if name in arms])


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rnn_parity.bench.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks"), metavar="FOLDER", help="default %(default)s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default %(default)s")
    own = torch.get_num_threads()
    parser.add_argument("--threads", nargs="+", type=int, metavar="N", help=f"default {own}, then 1 on the CPU")
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"for all rounds; checks come on top; default {SECONDS}, with --quick {QUICK_SECONDS}",
    )
    parser.add_argument("--arms", nargs="+", choices=ARMS, metavar="ARM", help=", ".join(ARMS))
    parser.add_argument(
        "--steps",
        nargs="+",
        type=int,
        default=LONG,
        metavar="T",
        help="of the long sequences, rising; default 64 to 4096",
    )
    parser.add_argument("--quick", action="store_true", help="few shapes, no long sequences, no epoch, no pictures")
    chosen = parser.parse_args(argv)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device: torch.cuda.is_available() is False")
    if chosen.threads is None:
        chosen.threads = [own] if chosen.device == "cuda" else [*dict.fromkeys([own, 1])]
    if min(chosen.threads) < 1 or len({*chosen.threads}) < len(chosen.threads):
        parser.error(f"--threads: expected different numbers from 1 up, got {chosen.threads}")
    if chosen.seconds is None:
        chosen.seconds = QUICK_SECONDS if chosen.quick else SECONDS
    if not 0 < chosen.seconds < float("inf"):
        parser.error(f"--seconds: expected a positive number, got {chosen.seconds}")
    if len(chosen.steps) < 2 or sorted(set(chosen.steps)) != list(chosen.steps) or chosen.steps[0] < 1:
        parser.error(f"--steps: expected at least two rising positive numbers, got {chosen.steps}")
    named = arms_of(chosen.device) if chosen.arms is None else chosen.arms
    chosen.arms = [name for name in ARMS if name == "builtin" or name in named]
    return chosen


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write JSON, Markdown and pictures, print the table; 1 where an arm is wrong, or interrupted."""
    chosen = options(argv)
    chosen.out.mkdir(parents=True, exist_ok=True)
    measured = run(chosen.device, chosen.arms, chosen.seconds, chosen.steps, chosen.threads, chosen.quick)
    (chosen.out / "compare.json").write_text(json.dumps(measured, indent=1) + "\n")
    if chosen.quick and not measured["interrupted"]:
        print("\n".join([machine(measured), "", *short_table(measured), *wrong_arms(measured)]))
    else:
        if not measured["interrupted"]:
            draw(measured, chosen.out)
        (chosen.out / "compare.md").write_text(report(measured) + "\n")
        print(report(measured))
    return int(any(wrong_arms(measured)) or measured["interrupted"] is not None)


if __name__ == "__main__":
    sys.exit(main())
