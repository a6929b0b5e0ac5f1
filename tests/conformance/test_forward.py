"""One layer, one direction: output, h_n and c_n are what the equations give."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_forward(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
