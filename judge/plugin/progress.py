"""The line that says on a terminal how far the judging is."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from tqdm import tqdm

from ..core.results import ERROR, FAILED
from .stash import RECORD, VERDICT

FORMAT = "{desc}: {n} of {total} tests, {postfix[0]}{remaining} left"


def wanted(config: pytest.Config) -> bool:
    """Whether there is a terminal to say it on, and nobody asked for quiet, or for a line a test."""
    if hasattr(config, "workerinput") or not sys.stderr.isatty():
        return False
    verbosity: int = config.option.verbose
    return verbosity == 0 or (verbosity == -1 and config.option.parity_progress)


def show(config: pytest.Config, total: int) -> None:
    """Have the line from now on, where it is wanted; each worker of pytest-xdist asks for it."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and wanted(config) and not config.pluginmanager.has_plugin(__name__):
        config.pluginmanager.register(Progress(reporter, total), __name__)


class Progress:
    """A plugin for one run: which layer and aspect, cases a second, time left; in the place of a dot for each test.

    Args:
        reporter: of the terminal.
        total: how many tests ask for a verdict.
    """

    def __init__(self, reporter: Any, total: int) -> None:
        self.reporter, self.bar = reporter, None  # type: Any, Any
        self.total, self.done, self.cases, self.wrong, self.start = total, 0, 0, 0, 0.0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Say which layer and aspect is judged now, where pytest would name the file."""
        found = VERDICT.search(nodeid)
        self.reporter.showfspath = False if found else None
        if found is None:
            self._clear()
            return
        aspect, layer, device, dtype = found.groups()
        said = f"{layer} {aspect.replace('_', ' ')}, {dtype} on {device}"
        if self.bar is None:
            self.reporter.ensure_newline()
            self.start = self.start or time.monotonic()
            options: dict[str, Any] = {"leave": False, "mininterval": 0, "dynamic_ncols": True, "postfix": [""]}
            self.bar = tqdm(total=self.total, initial=self.done, desc=said, bar_format=FORMAT, **options)
        self.bar.set_description_str(said)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the test and its cases."""
        record: Any = next((record for name, record in report.user_properties if name == RECORD), None)
        if self.bar is None or record is None or report.when != "call":
            return
        self.done += 1
        self.cases += record.get("cases", 0)
        self.wrong += record["result"] in (FAILED, ERROR)
        fails = f"{self.wrong} FAIL, " if self.wrong else ""
        rate = self.cases / (time.monotonic() - self.start)
        self.bar.postfix[0] = f"{fails}{rate:,.{0 if rate >= 10 else 1}f} cases a second, "
        self.bar.update()
        if self.done >= self.total:
            self._clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Any:
        """Have pytest count the test, and write no letter into the line."""
        category, letter, word = yield
        return category, "" if VERDICT.search(report.nodeid) else letter, word

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Make room for what is said at the end."""
        self._clear()

    def _clear(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
