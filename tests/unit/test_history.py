"""What later tests of a subject are spared by what earlier ones came to."""

from rnn_parity.judge.core.results import ERROR, FAILED, PASSED
from rnn_parity.judge.plugin.dispatch import ALIKE, History
from rnn_parity.judge.trials.table import trial_named
from rnn_parity.judge.trials.trial import Outcome

FORWARD, PACKED = trial_named("forward", "equations"), trial_named("packed", "equations")


def failed(*features: str, message: str = "wrong") -> Outcome:
    return Outcome(FAILED, {"features": list(features)}, message)


def test_the_rarest_feature_of_the_smallest_failing_case_is_left_out_from_then_on() -> None:
    history = History()
    history.add(FORWARD, failed("relu", "initial_state"))
    assert history.without == ("relu",)
    history.add(FORWARD, failed("relu", "initial_state"))
    assert history.without == ("relu", "initial_state")


def test_what_a_trial_cannot_do_without_is_blamed_only_where_the_plainest_trial_passes() -> None:
    history = History()
    history.add(PACKED, failed("packed"))
    assert history.without == ()
    history.add(FORWARD, Outcome(PASSED))
    history.add(PACKED, failed("packed"))
    assert history.without == ("packed",)


def test_a_plain_failure_leaves_nothing_out() -> None:
    history = History()
    history.add(FORWARD, failed())
    assert history.without == ()


def test_after_a_few_failures_alike_and_nothing_passed_the_rest_is_not_run() -> None:
    history = History()
    for _ in range(ALIKE):
        assert history.hopeless() is None
        history.add(FORWARD, Outcome(ERROR, message="the adapter raised\n  case: one of many"))
    rest = history.hopeless()
    assert rest is not None
    assert (rest.result, rest.message) == (
        ERROR,
        f"the adapter raised\n  not run: {ALIKE} tests before it ended like this, and none passed",
    )


def test_they_are_run_where_the_failures_differ_or_one_passed() -> None:
    differ, one = History(), History()
    for k in range(2 * ALIKE):
        differ.add(FORWARD, failed(message=f"off by {k}"))
        one.add(FORWARD, failed() if k else Outcome(PASSED))
    assert differ.hopeless() is None
    assert one.hopeless() is None
