"""PackedSequence, sorted or not, lengths equal, distinct and 1, in any stack, forward and backward."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_packed(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
