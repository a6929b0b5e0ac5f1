"""PackedSequence, sorted or not, lengths equal, distinct and 1, in any stack, forward and backward."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_packed(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
