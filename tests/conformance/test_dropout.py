"""Dropout between the layers, whatever random numbers it takes."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_dropout(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
