"""A test's way to its outcome: one trial is asked about one subject, in the process of the candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest

from ..core.results import ERROR, FAILED, PASSED, UNSUPPORTED
from ..trials.question import Question
from ..trials.search import asked
from ..trials.table import ASPECTS
from ..trials.trial import Outcome, Trial
from ..worker.parent import Workers
from .report import first_line, report_of
from .stash import DEADLINE, FIXTURE, HISTORIES, PROBES, RECORD, SUBJECTS, WORKERS
from .subjects import INTERFACE, Subject, asked_of, selected

ALIKE = 3  # failures of the same words, with nothing passed, after which the rest of a subject is not run


class History:
    """What became of one subject so far."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.failed: Counter[tuple[str, str]] = Counter()  # by the result and the first line that is said
        self.without: tuple[str, ...] = ()

    def add(self, trial: Trial | Question, outcome: Outcome) -> None:
        """Take note of an outcome.

        A feature that the smallest failing case cannot do without fails already: later trials leave it out, and one
        cause makes one aspect fail. What a trial cannot do without is blamed only where the plainest trial passes.
        """
        if outcome.result == PASSED:
            self.passed.add(trial.aspect)
        if outcome.result in (FAILED, ERROR):
            self.failed[outcome.result, first_line(outcome.message)] += 1
        needs = trial.needs if isinstance(trial, Trial) and "forward" not in self.passed else ()
        of_it = (feature for feature in outcome.record.get("features", ()) if feature not in (*needs, *self.without))
        self.without += tuple(islice(of_it, 1))

    def hopeless(self) -> Outcome | None:
        """Return what every trial comes to, once there is no need to ask again."""
        (result, said), count = (self.failed.most_common(1) or [(("", ""), 0)])[0]
        if count < ALIKE or self.passed:
            return None
        return Outcome(result, {}, f"{said}\n  not run: {ALIKE} tests before it ended like this, and none passed")


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
            history = config.stash.setdefault(HISTORIES, {}).setdefault(str(subject), History())
            outcome, printed = _asked(subject, trial, config, item.stash.get(DEADLINE, float("inf")), history)
            history.add(trial, outcome)
        finally:
            record = {
                **subject.named(),
                **{"dialect": list(subject.implementation.dialect), "aspect": trial.aspect, "trial": trial.name},
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


def _asked(
    subject: Subject, trial: Trial, config: pytest.Config, deadline: float, history: History
) -> tuple[Outcome, bytes]:
    implementation = subject.implementation
    if subject.fault is not None:
        return Outcome(FAILED, {"fault": subject.fault}, subject.fault), b""
    lacking = trial.unsupported(implementation, subject.dtype, subject.device)
    if lacking:
        reason = f"unsupported, as {implementation.name} declares: {', '.join(lacking)}"
        return Outcome(UNSUPPORTED, {"unsupported": lacking}, reason=reason), b""
    hopeless = history.hopeless()
    if hopeless is not None:
        return hopeless, b""
    if subject.target is not None:
        outcome, printed = workers(config).run(subject.run(trial, history.without), implementation, deadline)
    else:
        of = (subject.dtype, subject.device, subject.examples, subject.seed)
        outcome, printed = asked(trial, implementation, *of, history.without), b""
    return replace(outcome, record={**outcome.record, "without": list(history.without)}), printed
