"""NaN and infinity go where the equations carry them, and nowhere else."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_nonfinite(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
