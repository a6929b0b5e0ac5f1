"""Every gradient, for a loss on any of the results, in train and eval, with some parameters frozen."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_gradients(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
