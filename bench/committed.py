"""The results in `bench/results`: DATE-SUBJECT.json, of which the newest date counts."""

import hashlib
import json
from pathlib import Path
from typing import Any

RESULTS = Path("bench", "results")


class MissingResults(LookupError):
    """There are no results on a subject; the message is one line."""


def newest(subject: str, root: Path = Path()) -> Path:
    """Return the newest file of results.

    Args:
        subject: "cpu" (what `compare` measured), "calibration-cpu", "score-cpu", "verdicts-cpu", "commands" or
            "compatibility".
        root: the project's folder.

    Raises:
        MissingResults: there is none.
    """
    found = max((root / RESULTS).glob(f"????-??-??-{subject}.json"), default=None)
    if found is None:
        raise MissingResults(f"expected {RESULTS}/DATE-{subject}.json, found none")
    return found


def read(subject: str, root: Path = Path()) -> dict[str, Any]:
    """Return the newest results on a subject, with their day."""
    path = newest(subject, root)
    return {**json.loads(path.read_text(encoding="utf-8")), "day": path.name[:10]}


def fingerprint(path: Path) -> str:
    """Return what a picture says of the file that it was drawn from."""
    return f"{path.name}, SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
