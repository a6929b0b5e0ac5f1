"""The gradient of a sum over the gradients is what the equations give."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_second_order(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
