"""The same call gives the same result, with the same seed where there is dropout."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_repeatability(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
