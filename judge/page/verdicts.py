"""The verdicts as JSON: how records add up to them, how files of them are written, read and merged.

verdicts.schema.json says what stands in such a file.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.results import EDGES, ERROR, FAILED, PASSED, result_of

VERSION = 1  # of the format; a file of a newer one is not read

SUBJECT = ("implementation", "kind", "device", "dtype")
COUNTS = ("cases", "tensors", "undetermined", "builtin_faults", "refused", "seconds", "printed")
LISTED = ("reasons", "faults", "dialect", "unsupported", "without", "left_out")
SAID = ("failures", "errors")
HEADER = ("torch", "numpy", "python", "machine", "threads", "cuda", "longdouble_digits", "factor", "copies", "seed")
NUMBERS = ("error", "limit", "ratio")  # of the worst tensor: each may be infinite, which JSON has no number for

# Of one trial, or of a subject's every trial: see `summed`.
Verdict = dict[str, Any]
Document = dict[str, Any]


class NotVerdicts(ValueError):
    """A file that does not hold verdicts of a format that is known here; the message is one line."""


def of_record(record: Mapping[str, Any]) -> Verdict:
    """Return what one trial's record amounts to: the verdict of a run that asked nothing else."""
    aspect, result, counts = record["aspect"], record["result"], {key: record.get(key, 0) for key in COUNTS}
    said = [{key: record[key] for key in ("aspect", "trial", "message", "reproducer")}]
    listed = {key: list(record.get(key, ())) for key in LISTED}
    measured = {key: counts[key] for key in ("cases", "tensors", "undetermined")}
    measured |= {"ratios": record.get("ratios") or [0] * (len(EDGES) + 1), "worst": record.get("worst")}
    return {
        **{key: record[key] for key in SUBJECT},
        "trials": {aspect: {result: 1}},
        **counts,
        "builtin_refusals": dict(record.get("builtin_refusals", {})),
        "worst": record.get("worst"),
        "measured": {aspect: measured},
        **listed,
        "reasons": [record["reason"]] if record["reason"] else [],
        "faults": [record["fault"]] if record.get("fault") else [],
        "failures": said if result == FAILED else [],
        "errors": said if result == ERROR else [],
    }


def summed(parts: Sequence[Verdict]) -> Verdict:
    """Add up verdicts on one implementation, device and dtype: one that fails makes the sum fail."""
    trials: dict[str, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for aspect, counts in part["trials"].items():
            trials[aspect].update(counts)
    return {
        **{key: parts[0][key] for key in SUBJECT},
        "verdict": result_of({result for counts in trials.values() for result in counts}),
        "aspects": {aspect: result_of(counts) for aspect, counts in trials.items()},
        "trials": {aspect: dict(counts) for aspect, counts in trials.items()},
        **{key: sum(part[key] for part in parts) for key in COUNTS},
        "builtin_refusals": _refusals(parts),
        "worst": worst_of(part["worst"] for part in parts),
        "measured": {
            aspect: _measured([part["measured"][aspect] for part in parts if aspect in part["measured"]])
            for aspect in trials
        },
        **{key: sorted({item for part in parts for item in part[key]}) for key in LISTED},
        **{key: _distinct(item for part in parts for item in part[key]) for key in SAID},
    }


def _refusals(parts: Sequence[Verdict]) -> dict[str, int]:
    counts = Counter[str]()
    for part in parts:
        counts.update(part["builtin_refusals"])
    return dict(counts)


def _measured(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        **{key: sum(part[key] for part in parts) for key in ("cases", "tensors", "undetermined")},
        "worst": worst_of(part["worst"] for part in parts),
        "ratios": [sum(counts) for counts in zip(*(part["ratios"] for part in parts), strict=True)],
    }


def worst_of(candidates: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return the tensor furthest beyond its bound, or nearest to it, of several; None of none."""
    known = ({**worst, **{key: float(worst[key]) for key in NUMBERS}} for worst in candidates if worst)
    return max(known, key=lambda worst: worst["ratio"], default=None)


def _distinct(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({json.dumps(item): item for item in items}.values())


def added_up(parts: Iterable[Verdict]) -> list[Verdict]:
    """Return a verdict for each implementation, kind, device and dtype, as they come first."""
    groups: dict[tuple[str, ...], list[Verdict]] = defaultdict(list)
    for part in parts:
        groups[tuple(part[key] for key in SUBJECT)].append(part)
    return [summed(group) for group in groups.values()]


def merged(documents: Sequence[Document]) -> Document:
    """Return what several runs come to together: their counts added up, the header of each among "runs"."""
    runs = [run for document in documents for run in runs_of(document)]
    verdicts = added_up(verdict for document in documents for verdict in document["verdicts"])
    return {"version": VERSION, "header": runs[0], "runs": runs, "verdicts": verdicts}


def runs_of(document: Document) -> list[dict[str, Any]]:
    """Return the headers of the runs that a document is of."""
    return list(document.get("runs") or [document["header"]])


def differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what runs differ in beside seed, date and command, with the values that it has."""
    names = [name for name in runs[0] if name not in ("seed", "command", "date", "not_judged")]
    found = {name: list(dict.fromkeys(str(run.get(name)) for run in runs)) for name in names}
    return {name: values for name, values in found.items() if len(values) > 1}


def passed(document: Document) -> bool:
    """Whether something holds, and nothing fails."""
    results = {verdict["verdict"] for verdict in document["verdicts"]}
    return PASSED in results and not results & {FAILED, ERROR}


def read(path: Path) -> Document:
    """Return what a file of verdicts holds.

    Raises:
        NotVerdicts: it cannot be read, is no such file, or is of a newer version.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["version"]
        if isinstance(version, int) and version > VERSION:
            raise NotVerdicts(f"expected version {VERSION} or older, got version {version} in {path}")
        runs = [run | {key: run[key] for key in HEADER} for run in runs_of(document)]
        verdicts = [summed([verdict]) for verdict in document["verdicts"]]
        return {"version": VERSION, "header": dict(document["header"]), "runs": runs, "verdicts": verdicts}
    except OSError as error:
        raise NotVerdicts(f"expected a file of verdicts, got {path}: {error.strerror}") from error
    except NotVerdicts:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotVerdicts(f"expected a file that --parity-json wrote, got {path}") from error


def write(path: Path, document: Document) -> None:
    """Write a document as JSON, whole or not at all."""
    write_whole(path, json.dumps(finite(document), indent=2, allow_nan=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file that nobody sees half written."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """Return a value with "Infinity", which Python and JavaScript read as a number, for what JSON cannot say."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return "Infinity" if isinstance(value, float) and not math.isfinite(value) else value
