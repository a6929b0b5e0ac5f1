"""torch.ao.nn.quantizable.LSTM, stacked and bidirectional: raises, for the second layer expects one direction."""

import torch
from torch.ao.nn.quantizable import LSTM

out, _ = LSTM(3, 4, num_layers=2, bidirectional=True)(torch.ones(5, 1, 3))
assert out.shape[-1] == 8, f"features of the output: {out.shape[-1]}, not 8"
