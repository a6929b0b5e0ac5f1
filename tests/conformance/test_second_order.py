"""The gradient of a sum over the gradients is what the equations give."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_second_order(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
