"""What `compare` measured, as Markdown."""

from collections.abc import Iterable, Iterator
from typing import Any

from rnn_parity.bench.arms import ARMS, COMPILED_SHAPE, KINDS, SHAPES, STEPS, STREAM, Setting, Shape
from rnn_parity.bench.goals import EPOCH, FLAT, MEMORY, Outcome, time_goal

LISTED = (*SHAPES, COMPILED_SHAPE, STREAM)  # in the tables; other shapes are in the pictures alone


def setting_of(timing: dict[str, Any]) -> Setting:
    """Rebuild the setting that a timing was taken in."""
    options = {name: value for name, value in timing["setting"].items() if name != "name"}
    return Setting(**options | {"shape": Shape(**options["shape"])})


def outcomes(measured: dict[str, Any]) -> Iterator[Outcome]:
    """Return every goal with what was measured of it."""
    for timing in measured["timings"]:
        setting, step, found = setting_of(timing), timing["step"], timing["arms"]
        within = in_threads(timing["threads"])
        for name, arm in found.items():
            if (goal := time_goal(name, setting, step, measured["device"])) is not None:
                yield Outcome(f"{name} {setting} {step}, {within}", goal, arm["high"])
        if (share := memory_share(timing)) is not None and setting.shape in LISTED:
            yield Outcome(f"fused {setting} memory, {within}", MEMORY, share)
    for long in measured["long"]:
        if "fused" in (arms := long["arms"]):
            yield Outcome(f"fused {long['setting']}: time per step", FLAT, arms["fused"]["flat"]["high"])
            slope = arms["fused"]["bytes_per_step"] / arms["builtin"]["bytes_per_step"]
            yield Outcome(f"fused {long['setting']}: bytes per step", MEMORY, slope)
    if measured["epoch"] and "fused" in (arms := measured["epoch"]["arms"]):
        yield Outcome(f"fused LSTM: an epoch of {measured['epoch']['data']}", EPOCH, arms["fused"]["high"])


def missed(goals: Iterable[Outcome]) -> list[str]:
    """Return a line for every goal that was not met."""
    return [f"- {goal.what}: {goal.measured:.2f}, goal {goal.goal:.2f}" for goal in goals if not goal.met]


def lines_of(headers: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Lay out a table whose first two columns are words and whose others are figures."""
    head = [f"| {' | '.join(headers)} |", "| --- | --- " + "| ---: " * (len(headers) - 2) + "|"]
    return head + [f"| {' | '.join(cells)} |" for cells in rows]


def in_threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def timings_of(measured: dict[str, Any], step: str, threads: int) -> list[dict[str, Any]]:
    """Return what was measured of a step with so many threads."""
    return [timing for timing in measured["timings"] if (timing["step"], timing["threads"]) == (step, threads)]


def table(measured: dict[str, Any], step: str, threads: int, listed: bool = True) -> list[str]:
    """Lay a step's times out: the built-in's milliseconds, and each arm's multiple of it with its interval and goal.

    Args:
        measured: what `compare.run` returned.
        step: "forward" or "training".
        threads: how many.
        listed: those of the shapes in `LISTED`, or of all others.
    """
    timings = [timing for timing in timings_of(measured, step, threads) if "builtin" in timing["arms"]]
    timings = [timing for timing in timings if (setting_of(timing).shape in LISTED) == listed]
    arms = [name for name in ARMS[1:] if any(name in timing["arms"] for timing in timings)]
    rows = []
    for timing in timings:
        setting, found = setting_of(timing), timing["arms"]
        limit = timing["limit"] and timing["limit"]["seconds"]
        cells = [setting.name, str(setting.shape), milliseconds(found["builtin"]) + part(found["builtin"], limit)]
        cells += [multiple(found.get(arm), time_goal(arm, setting, step, measured["device"]), limit) for arm in arms]
        if step == "training":
            share = memory_share(timing)
            cells.append("" if share is None else f"{share:.2f}, {Outcome('', MEMORY, share)}")
        rows.append(cells)
    memory = ["memory, fused"] if step == "training" else []
    return lines_of(["layer", "shape", "built-in", *arms, *memory], rows)


def short_table(measured: dict[str, Any], shape: Shape = SHAPES[1]) -> list[str]:
    """Lay out a training step of each kind at one shape, in float32, with the first number of threads."""
    threads = measured["threads"][0]
    found = {str(setting_of(timing)): timing["arms"] for timing in timings_of(measured, "training", threads)}
    rows = []
    for kind in KINDS:
        arms = found[str(Setting(kind, shape))]
        rows.append([f"nn.{kind}", str(shape), milliseconds(arms["builtin"])])
        rows[-1] += [multiple(arms.get(name)) for name in ("manual", "fused")]
    return lines_of([f"a training step, {in_threads(threads)}", "shape", "torch.nn", "manual", "fused"], rows)


def milliseconds(arm: dict[str, Any]) -> str:
    return f"{arm['seconds'] * 1e3:.3g} ms"


def part(arm: dict[str, Any], limit: float | None) -> str:
    """How much of the time is the limit, in seconds."""
    return "" if limit is None else f", {limit / arm['seconds']:.0%}"


def multiple(arm: dict[str, Any] | None, goal: float | None = None, limit: float | None = None) -> str:
    """The ratio to the built-in, its interval, the limit's part, and whether the interval's end is within the goal."""
    if arm is None:
        return ""
    outcome = "" if goal is None else f", {Outcome('', goal, arm['high'])}"
    return f"{arm['median']:.2f} ({arm['low']:.2f} to {arm['high']:.2f}){part(arm, limit)}{outcome}"


def memory_share(timing: dict[str, Any]) -> float | None:
    """The fused layer's peak in training over the built-in's; None where it was not taken."""
    found = timing["arms"]
    if timing["step"] != "training" or "fused" not in found or not found["fused"]["peak_bytes"]:
        return None
    return float(found["fused"]["peak_bytes"] / found["builtin"]["peak_bytes"])


def long_table(measured: dict[str, Any]) -> list[str]:
    """Lay the long sequences out: time per step at each length, and how time and memory grow."""
    lengths = [f"T{T}" for T in measured["long"][0]["steps"]]
    last = lengths[-1]
    rows = []
    for long in measured["long"]:
        base = long["arms"]["builtin"]
        for name, arm in long["arms"].items():
            slope, judged = arm["bytes_per_step"] / base["bytes_per_step"], name == "fused"
            cells = [long["setting"], name]
            cells += [f"{1e6 * s / T:.3g} µs" for s, T in zip(arm["seconds"], long["steps"], strict=True)]
            cells.append(multiple(arm["flat"], FLAT if judged else None))
            limit = long["limit_seconds"] and long["limit_seconds"][-1]
            cells.append(multiple(arm["ratio"][-1]) + part({"seconds": arm["seconds"][-1]}, limit))
            cells.append(f"{arm['peak_bytes'][-1] / base['peak_bytes'][-1]:.2f}")
            cells.append(f"{slope:.2f}" + (f", {Outcome('', MEMORY, slope)}" if judged else ""))
            rows.append(cells)
    headers = ["layer", "arm", *lengths, "last / first", f"time, {last}", f"memory, {last}", "bytes per step"]
    return lines_of(headers, rows)


def machine(measured: dict[str, Any]) -> str:
    """Return what was measured on, with what and when."""
    computer, versions = measured["machine"], measured["versions"]
    clocks = f" Of the card: {computer['clocks']}." if computer.get("clocks") else ""
    return (
        f"{computer['gpu'] or computer['cpu']}, {computer['cores']} cores; "
        f"torch {versions['torch']}, Python {versions['python']}; {measured['date'][:10]}{clocks}"
    )


def times(measured: dict[str, Any]) -> list[str]:
    """Return the tables of both steps for each number of threads, with their headings."""
    lines = []
    for threads in measured["threads"]:
        for step in reversed(STEPS):
            title = f"{step.capitalize()}, {in_threads(threads)}"
            lines += [f"### {title}", "", *rates(measured, threads), *table(measured, step, threads), ""]
    return lines[:-1]


def rates(measured: dict[str, Any], threads: int) -> list[str]:
    """Say how fast products are with so many threads; nothing where that was not measured."""
    found = {t["setting"]["dtype"]: t["limit"] for t in timings_of(measured, "training", threads) if t["limit"]}
    said = (f"{name} {1e-9 * of['multiply_adds'] / of['seconds']:.1f}" for name, of in found.items())
    return [f"Multiply-adds of products, 10⁹ a second: {', '.join(said)}.", ""] if found else []


def epoch_line(measured: dict[str, Any]) -> str:
    """Say how long an epoch took, or why there is none."""
    epoch = measured["epoch"]
    if not epoch or "left_out" in epoch:
        return f"No epoch was trained{': ' + epoch['left_out'] if epoch else ''}."
    base, fused = epoch["arms"]["builtin"], epoch["arms"].get("fused")
    beside = f"; the fused one's multiple of that is {multiple(fused, EPOCH)}" if fused else ""
    within = in_threads(epoch["threads"])
    return f"An epoch of {epoch['data']} takes the built-in LSTM {base['seconds']:.1f} s with {within}{beside}."


def report(measured: dict[str, Any]) -> str:
    """Return the machine, the tables, the goals missed, and what was left out, as Markdown."""
    lines = [machine(measured), "", "Each time is a multiple of the built-in's.", "", *times(measured)]
    if measured["device"] == "cuda":
        swept = table(measured, "training", measured["threads"][0], listed=False)
        lines += ["", "### Training, other shapes", "", *swept]
    if measured["long"]:
        batch, input_size, hidden = measured["long"][0]["sizes"]
        lines += ["", f"### Long sequences, time per step of training at B{batch} I{input_size} H{hidden}", ""]
        lines += [*long_table(measured), "", epoch_line(measured)]
    goals = list(outcomes(measured))
    lines += ["", f"{sum(goal.met for goal in goals)} of {len(goals)} goals met.", *missed(goals), ""]
    if measured.get("interrupted"):
        lines += [f"Interrupted, {measured['interrupted']}: some is missing.", ""]
    return "\n".join([*lines, *left_out(measured)])


def left_out(measured: dict[str, Any]) -> list[str]:
    """Say once for each arm and reason that it was left out, what it warned of or what is wrong with it, and where."""
    return [*grouped(measured["timings"], "left_out"), *grouped(measured["timings"], "said"), *wrong_arms(measured)]


def wrong_arms(measured: dict[str, Any]) -> list[str]:
    """Return a line for each arm whose results were wrong, or that raised."""
    return grouped([*measured["timings"], *measured["long"]], "wrong")


def grouped(timings: Iterable[dict[str, Any]], what: str) -> list[str]:
    """Return a line for each arm and each text of a kind, with the settings in which it was said."""
    where: dict[tuple[str, str], list[str]] = {}
    for timing in timings:
        setting = timing["setting"]
        for arm, text in timing.get(what, {}).items():  # results of earlier versions lack some
            where.setdefault((arm, text), []).append(setting if isinstance(setting, str) else setting["name"])
    title = {"left_out": "Left out", "said": "Note on", "wrong": "WRONG"}[what]
    return [f"{title}, {arm}: {text} ({', '.join(dict.fromkeys(at))})." for (arm, text), at in where.items()]
