"""Recurrent layers by hand: the equations as cells, composed into drop-ins for those of torch.nn."""

from .bidirectional import Bidirectional
from .cell_modules import GRUCell, LSTMCell, RNNCell
from .cells import gru_cell, lstm_cell, rnn_cell
from .layers import GRU, LSTM, RNN
from .stacked import Stacked
from .textbook import ResetBeforeGRU, gru_cell_reset_before, lstm_cell_concatenated, rnn_forward_per_sample
from .unroll import Unrolled, unroll

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Bidirectional",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "ResetBeforeGRU",
    "Stacked",
    "Unrolled",
    "gru_cell",
    "gru_cell_reset_before",
    "lstm_cell",
    "lstm_cell_concatenated",
    "rnn_cell",
    "rnn_forward_per_sample",
    "unroll",
]
