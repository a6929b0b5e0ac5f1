"""Verdicts in a sentence: what is right, what fails, and what to run next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ..core.results import ERROR, FAILED, PASSED, UNSUPPORTED, result_of

NAMED = 3  # layers that fail and are named in the sentence


@dataclass(frozen=True)
class Layer:
    """An implementation of one kind, and the verdicts on it on every device and in every dtype.

    Args:
        implementation: as reports call it.
        kind: "rnn", "gru" or "lstm".
        verdicts: see `verdicts.summed`.
    """

    implementation: str
    kind: str
    verdicts: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """How a person calls it: MyGRU in my_layers."""
        module, colon, attribute = self.implementation.partition(":")
        return f"{attribute} in {module}" if colon else f"{self.implementation} ({self.kind})"

    @property
    def aspects(self) -> dict[str, str]:
        """What each aspect comes to over all devices and dtypes."""
        names = dict.fromkeys(chain.from_iterable(verdict["aspects"] for verdict in self.verdicts))
        return {
            name: result_of({verdict["aspects"][name] for verdict in self.verdicts if name in verdict["aspects"]})
            for name in names
        }

    @property
    def result(self) -> str:
        """What it comes to."""
        return result_of(set(self.aspects.values()))

    def with_result(self, *results: str) -> list[str]:
        """Return the aspects that come to one of these results."""
        return [name for name, result in self.aspects.items() if result in results]

    def fails(self) -> str:
        """Return in how many of its aspects it fails."""
        asked = len(self.aspects) - len(self.with_result(UNSUPPORTED))
        return f"fails {len(self.with_result(FAILED))} of {asked} {_plural(asked, 'aspect')}"


def layers_of(verdicts: Iterable[Mapping[str, Any]]) -> list[Layer]:
    """Return the layers that verdicts are about, as they come first."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for verdict in verdicts:
        groups.setdefault((verdict["implementation"], verdict["kind"]), []).append(verdict)
    return [Layer(*key, group) for key, group in groups.items()]


def sentence(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return the answer: which layers are right, or which fail, and in how much."""
    layers = layers_of(verdicts)
    wrong = [layer for layer in layers if layer.result == FAILED]
    unclear = [layer for layer in layers if layer.result == ERROR]
    if wrong:
        named = "; ".join(f"{layer.name} {layer.fails()}" for layer in wrong[:NAMED])
        more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        if len(layers) == 1:
            return f"{named}."
        are = "is" if len(wrong) == 1 else "are"
        return f"{len(wrong)} of {len(layers)} layers {are} wrong: {named}{more}."
    if unclear:
        named = "; ".join(f"{layer.name} in {', '.join(layer.with_result(ERROR))}" for layer in unclear[:NAMED])
        return f"The judge came to no verdict on {named}."
    if not any(layer.result == PASSED for layer in layers):
        return "Nothing was judged."
    return _right([layer for layer in layers if layer.result == PASSED])


def _right(layers: Sequence[Layer]) -> str:
    missing = dict.fromkeys(chain.from_iterable(layer.with_result(UNSUPPORTED) for layer in layers))
    asked = dict.fromkeys(chain.from_iterable(layer.with_result(PASSED) for layer in layers))
    count = len(asked)
    that = f"all {count} aspects that were" if count > 1 else "the one aspect that was"
    but = f"; not supported: {', '.join(missing).replace('_', ' ')}" if missing else ""
    who = f"{layers[0].name} is" if len(layers) == 1 else f"All {len(layers)} layers are"
    return f"{who} right in {that} asked{but}."


def extent(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Return how much the answer rests on: cases, tensors, dtypes, devices."""
    cases, tensors = (sum(verdict[key] for verdict in verdicts) for key in ("cases", "tensors"))
    dtypes, devices = (", ".join(dict.fromkeys(verdict[key] for verdict in verdicts)) for key in ("dtype", "device"))
    return f"{cases:,} cases and {tensors:,} tensors held against the equations, in {dtypes} on {devices}."


def action(verdicts: Sequence[Mapping[str, Any]], programs: Mapping[str, Path]) -> str | None:
    """Return the line to act on, None where nothing fails.

    Args:
        verdicts: of a run.
        programs: the files of reproducers, by their text.
    """
    wrong = [layer for layer in layers_of(verdicts) if layer.result == FAILED]
    if not wrong:
        return None
    failures = [failure for verdict in wrong[0].verdicts for failure in verdict["failures"]]
    first = next((f"`python {programs[f['reproducer']]}`" for f in failures if f["reproducer"] in programs), None)
    if first is None:
        first = failures[0]["aspect"] + ("" if programs else "; --parity-report FOLDER writes its reproducer")
    others = len(wrong) - 1
    more = f" ({others} other {_plural(others, 'layer')} {'fail' if others > 1 else 'fails'} too)" if others else ""
    return f"{wrong[0].name} {wrong[0].fails()}{more}; first: {first}"


def command_line() -> str:
    """Return how this process was started, as it is typed where what it needs is installed."""
    _, *rest = sys.orig_argv
    if rest and not rest[0].startswith("-") and not rest[0].endswith(".py"):
        return shlex.join([Path(rest[0]).name, *rest[1:]])
    return shlex.join(["python", *rest])


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
