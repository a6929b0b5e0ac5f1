"""batch_first, unbatched, and memory that is transposed, expanded, offset or strided; nothing is changed."""

from rnn_parity.judge.subject import Subject
from rnn_parity.judge.trials.search import Trial


def test_layouts(subject: Subject, trial: Trial) -> None:
    subject.examine(trial)
