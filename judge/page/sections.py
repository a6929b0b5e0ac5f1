"""The page below the grid: a section for each kind of record, drawn where there is Matplotlib."""

from __future__ import annotations

from collections.abc import Callable

from .others import Found, Others, Section


def sections(found: Others) -> list[Section]:
    """Return the sections of the page: plots where there are records and Matplotlib."""
    try:
        from . import plots
    except ModuleNotFoundError:
        missing = ("There are results, and no Matplotlib to draw them: pip install matplotlib.",)
        return [Section(name, lines=missing if records else ()) for name, records in found.items()]
    return [_section(name, records, plots.SECTIONS[name]) for name, records in found.items()]


def _section(name: str, records: Found, draw: Callable[[Found], Section]) -> Section:
    if not records:
        return Section(name)
    try:
        return draw(records)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        # A record that looks like one of ours and is not: the verdicts are shown all the same.
        return Section(name, lines=[f"These results cannot be shown: {type(error).__name__}: {error}."])
