"""torchrl.modules: GRU and LSTM in Python; batch_first is True where it is not said."""

import functools

from torchrl.modules import GRU, LSTM

gru = functools.partial(GRU, batch_first=False)
lstm = functools.partial(LSTM, batch_first=False)
gru.parity_unsupported = ("bidirectional", "packed", "unbatched")
lstm.parity_unsupported = gru.parity_unsupported
