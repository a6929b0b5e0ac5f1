"""The layers of `manual` with the whole sequence computed at once, forward and backward, by hand."""

from .checkpointed import Checkpointed
from .layers import GRU, LSTM, RNN

__all__ = ["GRU", "LSTM", "RNN", "Checkpointed"]
