"""The same call gives the same result, with the same seed where there is dropout."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_repeatability(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
