"""Print what `compare` measured as Markdown: python -m rnn_parity.bench.table compare.json."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnn_parity.bench.arms import ARMS, COMPILED_SHAPE, SHAPES, STEPS, Setting, Shape
from rnn_parity.bench.goals import FLAT, MEMORY, Outcome, time_goal


class TableError(ValueError):
    """A file that holds no comparison; the message is one line."""


def load(path: Path) -> dict[str, Any]:
    """Read a file that `compare` wrote.

    Raises:
        TableError: the file is missing, no JSON, or holds no comparison.
    """
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise TableError(f"{path}: expected the JSON that rnn_parity.bench.compare writes, got {error}") from error
    if not isinstance(measured, dict) or not {"timings", "long"} <= measured.keys():
        raise TableError(f"{path}: expected the JSON that rnn_parity.bench.compare writes, got no timings")
    return measured


def setting_of(timing: dict[str, Any]) -> Setting:
    """Rebuild the setting that a timing was taken in."""
    options = {name: value for name, value in timing["setting"].items() if name != "name"}
    return Setting(**options | {"shape": Shape(**options["shape"])})


def outcomes(measured: dict[str, Any]) -> Iterator[Outcome]:
    """Return every goal with what was measured of it."""
    for timing in measured["timings"]:
        setting, step, found = setting_of(timing), timing["step"], timing["arms"]
        for name, arm in found.items():
            if (goal := time_goal(name, setting, step, measured["device"])) is not None:
                yield Outcome(f"{name} {setting} {step}", goal, arm["high"])
        if (share := memory_share(timing)) is not None and setting.shape in SHAPES:
            yield Outcome(f"fused {setting} memory", MEMORY, share)
    for long in measured["long"]:
        if "fused" in (arms := long["arms"]):
            yield Outcome(f"fused {long['setting']}: time per step", FLAT, arms["fused"]["flat"]["high"])
            slope = arms["fused"]["bytes_per_step"] / arms["builtin"]["bytes_per_step"]
            yield Outcome(f"fused {long['setting']}: bytes per step", MEMORY, slope)


def shown(setting: Setting) -> bool:
    """Whether a setting is in the table, not only in the pictures."""
    return setting.shape in (*SHAPES, COMPILED_SHAPE)


def table(measured: dict[str, Any], step: str) -> list[str]:
    """Lay a step's times out: the built-in's milliseconds, and each arm's multiple of it with its interval and goal."""
    timings = [timing for timing in measured["timings"] if timing["step"] == step and shown(setting_of(timing))]
    arms = [name for name in ARMS[1:] if any(name in timing["arms"] for timing in timings)]
    headers = ["layer", "shape", "built-in", *arms, *(["memory, fused"] if step == "training" else [])]
    lines = [f"| {' | '.join(headers)} |", "| --- | --- " + "| ---: " * (len(headers) - 2) + "|"]
    for timing in timings:
        setting, found = setting_of(timing), timing["arms"]
        cells = [setting.name, str(setting.shape), f"{found['builtin']['seconds'] * 1e3:.3g} ms"]
        for name in arms:
            goal = time_goal(name, setting, step, measured["device"])
            cells.append(multiple(found.get(name), goal))
        if step == "training":
            share = memory_share(timing)
            cells.append(
                "" if share is None else f"{share:.2f}" + f", {Outcome('', MEMORY, share)}" * (setting.shape in SHAPES)
            )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def multiple(arm: dict[str, Any] | None, goal: float | None) -> str:
    """The ratio to the built-in, its interval, and whether the interval's upper end is within the goal."""
    if arm is None:
        return ""
    outcome = "" if goal is None else f", {Outcome('', goal, arm['high'])}"
    return f"{arm['median']:.2f} ({arm['low']:.2f} to {arm['high']:.2f}){outcome}"


def memory_share(timing: dict[str, Any]) -> float | None:
    """The fused layer's peak in training over the built-in's; None where it was not taken."""
    found = timing["arms"]
    if timing["step"] != "training" or "fused" not in found or not found["fused"]["peak_bytes"]:
        return None
    return float(found["fused"]["peak_bytes"] / found["builtin"]["peak_bytes"])


def long_table(measured: dict[str, Any]) -> list[str]:
    """Lay the long sequences out: time per step at each length, and how time and memory grow."""
    first = measured["long"][0]
    lengths = [f"T{T}" for T in first["steps"]]
    headers = [
        "layer",
        "arm",
        *lengths,
        "last / first",
        f"time, {lengths[-1]}",
        f"memory, {lengths[-1]}",
        "bytes per step",
    ]
    lines = [f"| {' | '.join(headers)} |", "| --- | --- " + "| ---: " * (len(headers) - 2) + "|"]
    for long in measured["long"]:
        base = long["arms"]["builtin"]
        for name, arm in long["arms"].items():
            flat, slope = arm["flat"], arm["bytes_per_step"] / base["bytes_per_step"]
            judged = name == "fused"
            cells = [long["setting"], name]
            cells += [f"{1e6 * s / T:.3g} µs" for s, T in zip(arm["seconds"], long["steps"], strict=True)]
            cells.append(multiple(flat, FLAT if judged else None))
            cells.append(multiple(arm["ratio"][-1], None))
            cells.append(f"{arm['peak_bytes'][-1] / base['peak_bytes'][-1]:.2f}")
            cells.append(f"{slope:.2f}" + (f", {Outcome('', MEMORY, slope)}" if judged else ""))
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def report(measured: dict[str, Any]) -> str:
    """Return the machine, the tables, the goals missed, and what was left out, as Markdown."""
    machine, versions, first = measured["machine"], measured["versions"], measured["long"][0]
    batch, input_size, hidden = first["sizes"]
    lines = [
        f"{machine['gpu'] or machine['cpu']}, {machine['cores']} cores, {measured['threads']} threads; "
        f"torch {versions['torch']}, Python {versions['python']}; {measured['date'][:10]}",
    ]
    for step in STEPS:
        lines += ["", f"### {step.capitalize()}, as a multiple of the built-in's time", "", *table(measured, step)]
    lines += ["", f"### Long sequences, time per step of training at B{batch} I{input_size} H{hidden}", ""]
    lines += long_table(measured)
    goals = list(outcomes(measured))
    missed = [f"- {goal.what}: {goal.measured:.2f}, goal {goal.goal:.2f}" for goal in goals if not goal.met]
    lines += ["", f"{len(goals) - len(missed)} of {len(goals)} goals met.", *missed]
    return "\n".join([*lines, "", *left_out(measured)])


def left_out(measured: dict[str, Any]) -> list[str]:
    """Say once for each arm and reason that it was left out, and where."""
    where: dict[tuple[str, str], list[str]] = {}
    for timing in measured["timings"]:
        for arm, reason in timing["left_out"].items():
            where.setdefault((arm, reason), []).append(timing["setting"]["name"])
    return [f"Left out, {arm}: {reason} ({', '.join(dict.fromkeys(at))})." for (arm, reason), at in where.items()]


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 1 and one line on standard error for a file that will not do."""
    parser = argparse.ArgumentParser(prog="rnn_parity.bench.table", description=__doc__)
    parser.add_argument("file", type=Path, help="the compare.json that rnn_parity.bench.compare wrote")
    path = parser.parse_args(arguments).file
    try:
        measured = load(path)
    except TableError as error:
        print(f"rnn_parity.bench.table: {error}", file=sys.stderr)
        return 1
    print(report(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
