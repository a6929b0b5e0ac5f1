"""batch_first, unbatched, and memory that is transposed, expanded, offset or strided; nothing is changed."""

from rnn_parity.judge.examine import Trial
from rnn_parity.judge.subject import Subject


def test_layouts(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
