"""What a run leaves behind: the verdicts, the page, a summary, and the line to act on."""

from __future__ import annotations

import pytest

from ..page import verdicts
from ..page.said import action
from ..page.summary import append_summary
from ..page.writing import write_report
from .report import Report
from .stash import CLOSING


def leave(config: pytest.Config, report: Report) -> None:
    """Write what the options and the environment ask for, and note what the terminal says of it at the end."""
    document, programs, lines = report.document(), {}, []
    if config.option.parity_json is not None:
        verdicts.write(config.option.parity_json, document)
    if config.option.parity_report is not None:
        programs = write_report(config.option.parity_report, document)
        lines.append(f"report: {config.option.parity_report / 'index.html'}")
    lines += [line for line in (append_summary(document), action(document["verdicts"], programs)) if line]
    config.stash[CLOSING] = lines
