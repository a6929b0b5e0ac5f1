"""What the page shows of verdicts: a row for each layer, a column for each aspect, and the records behind a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ..core.results import EDGES, RESULTS, WORDS
from .said import Layer, layers_of
from .verdicts import Document, finite

LONGEST = 600  # letters of a message that the page keeps
MOST = 200_000  # letters of messages and programs that it keeps in all: the files have the rest
AXIS = (-4, -2, 0, 2, 4)  # of the distribution: powers of ten that are labelled

Programs = Mapping[str, Path]


def rows(verdicts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the grid as the page begins, all devices and dtypes in one: its columns, and a row for each layer."""
    layers = layers_of(verdicts)
    aspects = list(dict.fromkeys(chain.from_iterable(layer.aspects for layer in layers)))
    return {"aspects": aspects, "layers": layers, "words": WORDS}


def records(document: Document, programs: Programs) -> dict[str, Any]:
    """Return what the page needs to know of each cell, in lists of numbers: ten thousand of them are to open at once.

    Args:
        document: the verdicts.
        programs: the files of the reproducers, by their text.
    """
    verdicts = document["verdicts"]
    grid = rows(verdicts)
    listing = _Listing(grid, verdicts, programs)
    return {
        "layers": [[layer.implementation, layer.kind] for layer in grid["layers"]],
        "aspects": grid["aspects"],
        "results": [[result, WORDS[result]] for result in RESULTS],
        "dtypes": listing.dtypes,
        "devices": listing.devices,
        "cells": [cell for layer in range(len(grid["layers"])) for cell in listing.cells(layer)],
        "tensors": list(listing.tensors),
        "failures": listing.failures,
        "notes": [[_place(layer, grid), _notes(layer)] for layer in grid["layers"] if _notes(layer)],
    }


class _Listing:
    def __init__(self, grid: dict[str, Any], verdicts: Sequence[Mapping[str, Any]], programs: Programs) -> None:
        self.grid, self.programs = grid, programs
        self.dtypes = list(dict.fromkeys(verdict["dtype"] for verdict in verdicts))
        self.devices = list(dict.fromkeys(verdict["device"] for verdict in verdicts))
        self.failures: list[list[Any]] = []
        self.letters = 0
        self.tensors: dict[str, int] = {}

    def cells(self, layer: int) -> list[list[Any]]:
        """Return the records behind a row: a list for each aspect, dtype and device."""
        return [
            self._cell(layer, verdict, aspect)
            for verdict in self.grid["layers"][layer].verdicts
            for aspect in verdict["aspects"]
        ]

    def _cell(self, layer: int, verdict: Mapping[str, Any], aspect: str) -> list[Any]:
        measured, worst = verdict["measured"][aspect], verdict["measured"][aspect]["worst"]
        return [
            layer,
            self.grid["aspects"].index(aspect),
            self.dtypes.index(verdict["dtype"]),
            self.devices.index(verdict["device"]),
            [verdict["trials"][aspect].get(result, 0) for result in RESULTS],
            *(measured[key] for key in ("cases", "tensors", "undetermined")),
            self._worst(worst) if worst else 0,
            _without_ends(measured["ratios"]) if measured["tensors"] else 0,
            self._failed(verdict, aspect),
        ]

    def _worst(self, worst: Mapping[str, Any]) -> Any:
        tensor = self.tensors.setdefault(worst["tensor"], len(self.tensors))
        return finite([tensor, *(float(f"{worst[key]:.3g}") for key in ("ratio", "error"))])

    def _failed(self, verdict: Mapping[str, Any], aspect: str) -> list[int]:
        """List what failed behind a cell, the first in full, and return the places in the list."""
        failed = [f for f in (*verdict["failures"], *verdict["errors"]) if f["aspect"] == aspect]
        places = range(len(self.failures), len(self.failures) + len(failed))
        for number, failure in enumerate(failed):
            text = failure["reproducer"] or ""
            file = self.programs[text].name if text in self.programs else ""
            message = (failure["message"] or "")[:LONGEST]
            if number:
                message, text = message.partition("\n")[0], ""
            if self.letters > MOST:
                message, text = "", ""
            self.letters += len(message) + len(text)
            self.failures.append([failure["trial"], message, file, text])
        return list(places)


def _without_ends(counts: Sequence[int]) -> list[int]:
    """Return the place of the first count that is not 0, and the counts from there to the last such."""
    there = [place for place, count in enumerate(counts) if count]
    return [there[0], *counts[there[0] : there[-1] + 1]] if there else [0]


def _place(layer: Layer, grid: dict[str, Any]) -> int:
    return int(grid["layers"].index(layer))


def _notes(layer: Layer) -> list[str]:
    """Return what is to be known of a layer beside its cells."""
    said = {
        "declared unsupported": "unsupported",
        "dialect": "dialect",
        "not compared": "left_out",
        "judged in part without what fails": "without",
    }
    notes = [
        f"{what}: {', '.join(names)}"
        for what, key in said.items()
        if (names := dict.fromkeys(chain.from_iterable(verdict[key] for verdict in layer.verdicts)))
    ]
    return [*notes, *dict.fromkeys(chain.from_iterable(verdict["faults"] for verdict in layer.verdicts))]


def histogram() -> dict[str, Any]:
    """Return the frame of a distribution: where each bin begins, the labels below, and where the bound is."""
    width = 100 / (len(EDGES) + 1)
    labels = [(round(width * (2 * power + 9), 2), f"1e{power}" if power else "1") for power in AXIS]
    return {
        "bins": [round(width * place, 2) for place in range(len(EDGES) + 1)],
        "width": round(0.86 * width, 2),
        "labels": labels,
        "bound": round(9 * width, 2),
    }
