"""Every gradient, for a loss on any of the results, in train and eval, with some parameters frozen."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_gradients(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
