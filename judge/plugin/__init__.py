"""The pytest plugin: its hooks, and the fixture that asks for a verdict.

It is loaded into every pytest run of every project beside it, so it imports PyTorch only when a parity test is
collected or a parity option is given.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from . import options
from .stash import CLOSING, DEADLINE, FIXTURE, PROBES, RECORD, REPORT, VERDICT

if TYPE_CHECKING:
    from ..core.candidate import Implementation

Ask = Callable[[], None]


class Hooks:
    """Hooks that a conftest.py or another plugin may implement."""

    @pytest.hookspec
    def pytest_parity_implementations(self, config: pytest.Config) -> list[Implementation]:  # type: ignore[empty-body]
        """Return implementations to judge beside those named on the command line."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hook through which implementations are registered in code."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse bad options before anything is collected."""
    options.check(config)
    option = config.option
    if option.parity_implementation or option.parity_device or option.parity_dtype:
        from .dispatch import subjects

        subjects(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that asks for a verdict every trial and every subject."""
    if FIXTURE in metafunc.fixturenames:
        from .dispatch import parametrise

        parametrise(metafunc)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out a test for which there is nothing to ask."""
    empty = [item for item in items if _asks_nothing(item)]
    if empty:
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have a line of progress."""
    _show_progress(session.config, [item.nodeid for item in session.items])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """Have a line of progress where workers of pytest-xdist collect."""
    _show_progress(node.config, ids)


def _show_progress(config: pytest.Config, tests: list[str]) -> None:
    total = sum(VERDICT.search(test) is not None for test in tests)
    if total and sys.stderr.isatty():
        from .progress import show

        show(config, total)


def _asks_nothing(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None) if FIXTURE in getattr(item, "fixturenames", ()) else None
    return callspec is not None and callspec.params[FIXTURE] is None


@pytest.fixture
def ask_parity(request: pytest.FixtureRequest) -> Ask:
    """Return what judges: called, it passes, skips where the layer declares the trial unsupported, or fails."""
    from .dispatch import asking

    return asking(request)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Be done a little before pytest-timeout ends the test, or all of pytest."""
    if FIXTURE in getattr(item, "fixturenames", ()):
        item.stash[DEADLINE] = time.monotonic() + 0.9 * settings.timeout


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a reproducer in a section of its own, where it can be copied without pytest's marks."""
    error = call.excinfo and call.excinfo.value
    ours = type(error).__module__.startswith("rnn_parity.")
    reproducer = getattr(error, "reproducer", None) if ours else None
    if error is not None and reproducer is not None:
        error.__notes__ = []
    report = yield
    if reproducer is not None:
        report.sections.append(("reproducer, to paste into a file", reproducer))
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what importing the candidates came to; they run there."""
    if PROBES in node.config.stash:
        from .dispatch import workers

        node.workerinput["parity_probes"] = node.config.stash[PROBES]
        workers(node.config).close()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take over what a worker of pytest-xdist reports; in this process the tests themselves have said it."""
    node: Any = getattr(report, "node", None)
    for name, record in report.user_properties if node is not None else ():
        if name == RECORD and isinstance(record, dict):
            from .report import report_of

            report_of(node.config).add(report.nodeid, record)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print one line per implementation, kind, device and dtype."""
    config = terminalreporter.config
    if REPORT in config.stash:
        terminalreporter.section("parity")
        for line in config.stash[REPORT].lines():
            terminalreporter.write_line(line, red="FAIL" in line or "ERROR" in line)
        for line in config.stash.get(CLOSING, ()):
            terminalreporter.write_line(line, bold=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what is asked for, and fail where every test was skipped: nothing judged is nothing passed."""
    config = session.config
    if REPORT not in config.stash or hasattr(config, "workerinput"):
        return
    from .ending import leave

    report = config.stash[REPORT]
    leave(config, report)
    if report.nothing_judged() and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
