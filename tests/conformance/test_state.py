"""h_0 and c_0: given, zero or absent, carried from call to call, and none kept inside."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_state(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
