"""The pytest plugin: options, what the conformance tests judge, and what is said at the end.

It is loaded into every pytest run of every project beside it, so it imports PyTorch only when a parity test is
collected or a parity option is given.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .report import OUTCOMES, RECORD, Report

if TYPE_CHECKING:
    from .implementation import Implementation
    from .isolation import Isolation
    from .subject import Subject

REPORT = pytest.StashKey[Report]()
SUBJECTS = pytest.StashKey[list["Subject"]]()
ISOLATION = pytest.StashKey["Isolation"]()
PROBES = pytest.StashKey[dict[str, dict[str, Any]]]()


class Hooks:
    """Hooks that a conftest.py or another plugin may implement."""

    @pytest.hookspec
    def pytest_parity_implementations(self, config: pytest.Config) -> list[Implementation]:  # type: ignore[empty-body]
        """Return implementations to judge beside those named on the command line."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the hook through which implementations are registered in code."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all of which start with --parity-."""
    group = parser.getgroup("parity", "judging recurrent layers (rnn-parity)")
    group.addoption(
        "--parity-implementation",
        metavar="KIND=MODULE:ATTRIBUTE",
        action="append",
        default=[],
        help="judge this layer, such as gru=my_pkg.layers:MyGRU; may be repeated (default: the manual layers)",
    )
    group.addoption(
        "--parity-device",
        metavar="DEVICE",
        action="append",
        default=[],
        help="judge on this device; may be repeated (default: cpu and cuda)",
    )
    group.addoption(
        "--parity-dtype",
        metavar="DTYPE",
        action="append",
        default=[],
        help="float64, float32, bfloat16 or float16; may be repeated (default: all four)",
    )
    group.addoption(
        "--parity-examples",
        metavar="N",
        type=int,
        help="cases for each trial (default: 50, half but in float64)",
    )
    group.addoption("--parity-seed", metavar="N", type=int, default=0, help="which cases are drawn (default: 0)")
    group.addoption("--parity-json", metavar="FILE", type=Path, help="write the verdicts to FILE")
    group.addoption(
        "--parity-timeout",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="a layer that does not return for so long has hung (default: 60)",
    )
    group.addoption(
        "--parity-memory",
        metavar="GIB",
        type=float,
        default=4.0,
        help="a layer whose process grows by more in a test has exhausted the memory (default: 4)",
    )
    group.addoption(
        "--parity-interface",
        action="store_true",
        help="judge names, initial values and errors of the implementations named, not only of the manual ones",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse bad options before anything is collected."""
    config.stash[REPORT] = Report()
    examples, path = config.option.parity_examples, config.option.parity_json
    if examples is not None and examples < 1:
        raise pytest.UsageError(f"--parity-examples must be at least 1, got {examples}")
    for name, value in (("timeout", config.option.parity_timeout), ("memory", config.option.parity_memory)):
        if not value > 0:
            raise pytest.UsageError(f"--parity-{name} must be more than 0, got {value:g}")
    if path is not None:
        _require_writable(path)
    option = config.option
    if option.parity_implementation or option.parity_device or option.parity_dtype:
        subjects(config)


def _require_writable(path: Path) -> None:
    if path.is_dir():
        raise pytest.UsageError(f"--parity-json must be a file, got the folder {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"--parity-json must be a file that can be written, got {path}: {error.strerror}"
        ) from error
    if path.stat().st_size == 0:
        path.unlink()


def subjects(config: pytest.Config) -> list[Subject]:
    """Return every implementation on every device in every dtype that is to be judged.

    Raises:
        pytest.UsageError: an option that does not parse, import or build.
    """
    if SUBJECTS not in config.stash:
        from . import selection

        # The workers of pytest-xdist are told what the first process found, and come to the same tests.
        probes = getattr(config, "workerinput", {}).get("parity_probes", {})
        config.stash[PROBES] = probes
        try:
            config.stash[SUBJECTS] = selection.selected(config, isolation(config), probes)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[SUBJECTS]


def isolation(config: pytest.Config) -> Isolation:
    """Return the processes of the candidates; they end with the run."""
    if ISOLATION not in config.stash:
        from .isolation import Isolation

        config.stash[ISOLATION] = Isolation(config.option.parity_timeout, config.option.parity_memory)
        config.add_cleanup(config.stash[ISOLATION].close)
    return config.stash[ISOLATION]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist what importing the candidates came to; they run there."""
    if PROBES in node.config.stash:
        node.workerinput["parity_probes"] = node.config.stash[PROBES]
        isolation(node.config).close()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect the records of this session's tests; under pytest-xdist they come from the workers' reports."""
    session.config.pluginmanager.register(_Collector(session.config.stash[REPORT]), "rnn-parity-collector")


class _Collector:
    def __init__(self, report: Report) -> None:
        self.report = report
        self.outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.outcomes[report.nodeid] = max(
            self.outcomes.get(report.nodeid, "skipped"), report.outcome, key=OUTCOMES.index
        )
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == RECORD and isinstance(value, dict):
                    self.report.add(report.nodeid, {"outcome": self.outcomes[report.nodeid], **value})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a reproducer in a section of its own, where it can be copied without pytest's marks."""
    reproducer = getattr(call.excinfo and call.excinfo.value, "reproducer", None)
    if call.excinfo is not None and reproducer is not None:
        call.excinfo.value.__notes__ = []
    report = yield
    if reproducer is not None:
        report.sections.append(("reproducer, to paste into a file", reproducer))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print one line per implementation, kind, device and dtype."""
    report = terminalreporter.config.stash[REPORT]
    if report.records:
        terminalreporter.section("parity")
        for line in [*report.header_lines(), *report.lines()]:
            terminalreporter.write_line(line, red="FAIL" in line)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the verdicts, and fail where every test was skipped: nothing judged is nothing passed."""
    config = session.config
    report = config.stash[REPORT]
    if hasattr(config, "workerinput") or not report.records:
        return
    from . import selection

    report.header = selection.header(config.option.parity_seed)
    if config.option.parity_json is not None:
        report.write(config.option.parity_json)
    if report.nothing_judged() and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
