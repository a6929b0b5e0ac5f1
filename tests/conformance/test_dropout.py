"""Dropout between the layers, whatever random numbers it takes."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_dropout(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
