"""A test's way to its outcome: one trial is asked about one subject, in the process of the candidate."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..trials.search import asked
from ..trials.table import ASPECTS
from ..trials.trial import ERROR, FAILED, PASSED, UNSUPPORTED, Outcome, Trial
from ..worker.parent import Workers
from .report import report_of
from .stash import DEADLINE, FIXTURE, PROBES, RECORD, SUBJECTS, WORKERS
from .subjects import INTERFACE, Subject, asked_of, selected


class Failed(pytest.fail.Exception):  # type: ignore[name-defined, misc]
    """A trial that was not passed."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.message or outcome.result, pytrace=False)
        self.reproducer = outcome.reproducer


def subjects(config: pytest.Config) -> list[Subject]:
    """Return every implementation on every device in every dtype that is to be judged.

    Raises:
        pytest.UsageError: an option that does not parse, import or build.
    """
    if SUBJECTS not in config.stash:
        # The workers of pytest-xdist are told what the first process found, and come to the same tests.
        probes = config.stash[PROBES] = getattr(config, "workerinput", {}).get("parity_probes", {})
        try:
            config.stash[SUBJECTS] = selected(config, workers(config), probes)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
    return config.stash[SUBJECTS]


def workers(config: pytest.Config) -> Workers:
    """Return the processes of the candidates; they end with the run."""
    if WORKERS not in config.stash:
        config.stash[WORKERS] = Workers(config.option.parity_timeout, config.option.parity_memory)
        config.add_cleanup(config.stash[WORKERS].close)
    return config.stash[WORKERS]


def parametrise(metafunc: pytest.Metafunc) -> None:
    """Have a test ask about every subject: `test_forward` the trials of "forward", one of another name all trials."""
    aspect = metafunc.function.__name__.removeprefix("test_")
    known = aspect in (*ASPECTS, INTERFACE)
    pairs = [
        pytest.param(
            (subject, trial), id=f"{subject}-{trial.name}" if known else f"{subject}-{trial.aspect}-{trial.name}"
        )
        for of in ([aspect] if known else ASPECTS)
        for subject, trial in asked_of(subjects(metafunc.config), of)
    ]
    metafunc.parametrize(FIXTURE, pairs or [pytest.param(None, id="nothing")], indirect=True)


def asking(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Return what asks the trial of a test about its subject, once it is called."""
    subject, trial = request.param
    config, item = request.config, request.node

    def ask() -> None:
        __tracebackhide__ = True
        outcome = Outcome(ERROR, message="the test ended before there was a verdict")
        try:
            outcome, printed = _asked(subject, trial, config, item.stash.get(DEADLINE, float("inf")))
        finally:
            record = {
                **subject.named(),
                **{"aspect": trial.aspect, "trial": trial.name},
                **outcome.record,
                **{name: getattr(outcome, name) for name in ("result", "message", "reproducer", "reason")},
            }
            report_of(config).add(item.nodeid, record)
            item.user_properties.append((RECORD, record))
        if outcome.result == UNSUPPORTED:
            pytest.skip(str(outcome.reason))
        if outcome.result != PASSED:
            if printed:
                item.add_report_section("call", "candidate's output", printed.decode(errors="replace"))
            raise Failed(outcome)

    return ask


def _asked(subject: Subject, trial: Trial, config: pytest.Config, deadline: float) -> tuple[Outcome, bytes]:
    implementation = subject.implementation
    if subject.fault is not None:
        return Outcome(FAILED, {"fault": subject.fault}, subject.fault), b""
    lacking = trial.unsupported(implementation, subject.dtype, subject.device)
    if lacking:
        reason = f"unsupported, as {implementation.name} declares: {', '.join(lacking)}"
        return Outcome(UNSUPPORTED, {"unsupported": lacking}, reason=reason), b""
    if subject.target is not None:
        return workers(config).run(subject.run(trial), implementation, deadline)
    return asked(trial, implementation, subject.dtype, subject.device, subject.examples, subject.seed), b""
