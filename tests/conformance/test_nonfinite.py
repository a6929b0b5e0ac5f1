"""NaN and infinity go where the equations carry them, and nowhere else."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_nonfinite(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
