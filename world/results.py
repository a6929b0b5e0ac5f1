"""What the judge said of an entry, in short: a word for each aspect, and what fails."""

from collections.abc import Mapping
from typing import Any

from rnn_parity.judge.api import ASPECTS
from rnn_parity.world.roster import Entry, Package

HOLDS, FAILS, DIFFERS, NOT_OFFERED, NOT_JUDGED = "holds", "fails", "differs", "not offered", "not judged"
WORDS = (HOLDS, FAILS, DIFFERS, NOT_OFFERED, NOT_JUDGED)

REPRODUCER = 26  # lines, of those that are shown


def record(
    package: Package, entry: Entry, version: str, report: Mapping[str, Any] | None, seconds: int
) -> dict[str, Any]:
    """Return what is kept of an entry.

    Args:
        package: that it is of.
        entry: what was judged.
        version: of the package.
        report: of `--parity-json`; None where the judge came to none.
        seconds: that it took.

    Returns:
        id, package, version, torch, kind, name, dtypes, cases, worst ratio and its tensor, by aspect
        {"word", "dtypes" that fail, "message"}, the features "without" which the rest was judged, since they fail,
        and a failing {"message", "reproducer"}.
    """
    verdicts = [verdict for verdict in report["verdicts"] if verdict["cases"]] if report else []
    worst = max((v["worst"] for v in verdicts if v["worst"]), key=lambda worst: float(worst["ratio"]), default=None)
    failures = [dict(f, dtype=v["dtype"]) for v in verdicts for f in v["failures"]]
    return {
        "id": f"{package.called}-{entry.name}-{entry.kind}".replace(" ", "-").replace(":", "-"),
        "package": package.called,
        "version": version,
        "torch": report["header"]["torch"] if report else "",
        "kind": entry.kind,
        "name": entry.name,
        "dtypes": [verdict["dtype"] for verdict in verdicts],
        "cases": sum(verdict["cases"] for verdict in verdicts),
        "seconds": seconds,
        "worst": worst and {"tensor": worst["tensor"], "ratio": float(f"{float(worst['ratio']):.3g}")},
        "aspects": {aspect: _said(aspect, entry, verdicts) for aspect in ASPECTS},
        "without": sorted({feature for verdict in verdicts for feature in verdict["without"]}),
        "shown": _shown(failures),
    }


def _said(aspect: str, entry: Entry, verdicts: list[Any]) -> dict[str, Any]:
    if entry.asked and aspect not in entry.asked:
        return {"word": NOT_JUDGED}
    came = {verdict["dtype"]: verdict["aspects"].get(aspect, "unsupported") for verdict in verdicts}
    failed = [dtype for dtype, result in came.items() if result == "failed"]
    if failed:
        messages = (f["message"] for v in verdicts for f in v["failures"] if f["aspect"] == aspect)
        word = DIFFERS if aspect in entry.differs else FAILS
        return {"word": word, "dtypes": failed, "message": _fault(next(messages, ""))}
    if not came or "error" in came.values():
        return {"word": NOT_JUDGED}
    return {"word": HOLDS if "passed" in came.values() else NOT_OFFERED}


def _fault(message: str) -> str:
    """Return the first line of a verdict without the name of the client."""
    line = message.splitlines()[0] if message else ""
    return line.partition(" of the equations: ")[2] or line


def _shown(failures: list[dict[str, Any]]) -> dict[str, str] | None:
    """Return a failure to show: of those with a program the one with the shortest."""
    told = [failure for failure in failures if failure["reproducer"]]
    if not told:
        return {"message": failures[0]["message"], "reproducer": ""} if failures else None
    found = min(told, key=lambda failure: failure["reproducer"].count("\n"))
    lines = found["reproducer"].strip().splitlines()
    lines = lines if len(lines) <= REPRODUCER else [*lines[:REPRODUCER], "..."]
    return {"message": found["message"], "reproducer": "\n".join(lines)}
