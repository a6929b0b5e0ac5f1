"""torch.ao.nn.quantizable.LSTM in float64, without a first state: raises, for the state it makes is of float32."""

import torch
from torch.ao.nn.quantizable import LSTM

out, _ = LSTM(3, 4, dtype=torch.float64)(torch.ones(5, 1, 3, dtype=torch.float64))
assert out.dtype == torch.float64, f"{out.dtype}, not torch.float64"
