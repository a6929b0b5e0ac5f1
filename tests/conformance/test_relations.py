"""What two runs must have to do with each other; it needs no oracle."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_relations(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
