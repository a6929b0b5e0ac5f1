"""What a pytest session keeps from hook to hook, and the names the hooks share; nothing here imports PyTorch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..worker.parent import Workers
    from .subjects import Subject

FIXTURE = "ask_parity"
# The name of a test that asks for a verdict: its aspect, and what `Subject.__str__` says.
VERDICT = re.compile(r"::test_(\w+)\[(.+)-(?:rnn|gru|lstm)-([\w:]+)-(float64|float32|bfloat16|float16)-")
RECORD = "parity"  # name of the user property that carries a test's record

SUBJECTS: pytest.StashKey[list[Subject]] = pytest.StashKey()
PROBES: pytest.StashKey[dict[str, dict[str, Any]]] = pytest.StashKey()  # what importing came to, by the option
WORKERS: pytest.StashKey[Workers] = pytest.StashKey()
REPORT: pytest.StashKey[Any] = pytest.StashKey()  # the Report of `report`, which imports this file
CLOSING: pytest.StashKey[list[str]] = pytest.StashKey()  # lines to end the summary with
HISTORIES: pytest.StashKey[dict[str, Any]] = pytest.StashKey()  # the History of `dispatch`, by subject
DEADLINE: pytest.StashKey[float] = pytest.StashKey()  # of a test, on the clock of time.monotonic
