"""pytorch_forecasting.models.nn: GRU and LSTM that take sequences of no steps; a PackedSequence goes by `lengths`."""

from typing import Any

from pytorch_forecasting.models.nn import GRU as _GRU
from pytorch_forecasting.models.nn import LSTM as _LSTM
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class ByLengths:
    """Mixed in."""

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> Any:
        if not isinstance(input, PackedSequence):
            return super().forward(input, hx)
        padded, lengths = pad_packed_sequence(input, self.batch_first)
        output, state = super().forward(padded, hx, lengths, enforce_sorted=False)
        return pack_padded_sequence(output, lengths, self.batch_first, input.sorted_indices is None), state


class GRU(ByLengths, _GRU):
    pass


class LSTM(ByLengths, _LSTM):
    pass
