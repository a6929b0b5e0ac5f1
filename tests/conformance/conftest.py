"""What the conformance tests judge: every implementation, device and dtype that was asked for."""

import time
from pathlib import Path
from typing import Any

import pytest

from rnn_parity.judge.child import Run
from rnn_parity.judge.plugin import isolation, subjects
from rnn_parity.judge.plugin.report import RECORD
from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial
from rnn_parity.judge.trials.table import trials_of

DEADLINE = pytest.StashKey[float]()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the interface out where somebody's own layers are judged: a right layer may word its errors differently."""
    own = config.option.parity_implementation and not config.option.parity_interface
    return True if own and collection_path.name.startswith("test_interface") else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test of an aspect every trial and every subject, `test_forward` those of "forward"."""
    if "subject" not in metafunc.fixturenames:
        return
    judged = subjects(metafunc.config)
    if "trial" not in metafunc.fixturenames:
        # Names, initial values and errors are the same in every dtype: one will do.
        of_interface = [subject for subject in judged if subject.dtype == judged[0].dtype]
        metafunc.parametrize("subject", of_interface, ids=str, indirect=True)
        return
    pairs = [
        pytest.param(subject, trial, id=f"{subject}-{trial.name}")
        for trial in trials_of(_aspect(metafunc.function.__name__))
        for subject in judged
        if trial.applies_to(subject.implementation, subject.dtype, subject.device)
    ]
    metafunc.parametrize(("subject", "trial"), pairs, indirect=["subject"])


def _aspect(test: str) -> str:
    return test.removeprefix("test_")


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> Subject:
    """Return what is judged, skip what cannot be, and hand the test's record to the report."""
    judged: Subject = request.param
    trial: Trial | None = request.getfixturevalue("trial") if "trial" in request.fixturenames else None
    judged.start(trial)
    request.node.user_properties.append((RECORD, judged.record))
    if judged.missing is not None:
        judged.record |= {"outcome": "skipped", "reason": judged.missing}
        pytest.skip(judged.missing)
    unsupported = trial.unsupported(judged.implementation, judged.dtype, judged.device) if trial else []
    if unsupported:
        judged.record |= {"outcome": "unsupported", "unsupported": unsupported}
        pytest.skip(f"unsupported, as {judged.implementation.name} declares: {', '.join(unsupported)}")
    return judged


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Be done a little before pytest-timeout ends the test, or all of pytest."""
    item.stash[DEADLINE] = time.monotonic() + 0.9 * settings.timeout


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test in the process of the implementation that it judges."""
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem.fixturenames if name in pyfuncitem.funcargs}
    judged = arguments.pop("subject", None)
    if not isinstance(judged, Subject):
        return None
    if judged.fault is not None:
        judged.record |= {"fault": judged.fault, "message": judged.fault}
        pytest.fail(judged.fault, pytrace=False)
    if judged.target is None:
        return None
    function = pyfuncitem.function
    request = Run(
        judged.target,
        {"dtype": judged.dtype, "device": judged.device, "examples": judged.examples, "seed": judged.seed},
        f"{function.__module__}:{function.__qualname__}",
        {name: value for name, value in arguments.items() if name in pyfuncitem._fixtureinfo.argnames},
    )
    deadline = pyfuncitem.stash.get(DEADLINE, float("inf"))
    answer, printed = isolation(pyfuncitem.config).run(judged, request, deadline)
    judged.record |= answer.value
    if answer.failure is not None:
        judged.record |= {"message": answer.failure, "reproducer": answer.reproducer}
        pyfuncitem.add_report_section("call", "candidate's output", printed.decode(errors="replace"))
        raise Failed(answer.failure, answer.reproducer)
    return True


class Failed(pytest.fail.Exception):
    """What failed in the process of an implementation."""

    def __init__(self, message: str, reproducer: str | None) -> None:
        super().__init__(message, pytrace=False)
        self.reproducer = reproducer
