"""What two runs must have to do with each other; it needs no oracle."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_relations(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
