"""Several layers and both directions, forward and backward, each with its own state."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_stacking(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
