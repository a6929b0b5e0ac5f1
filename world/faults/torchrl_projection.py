"""torchrl.modules.LSTM with proj_size: the projection is accepted and never applied."""

import torch
from torch import nn
from torchrl.modules import LSTM

x = torch.ones(2, 1, 3)  # one step: with more, the state does not fit and an error is raised
true, found = (lstm(3, 4, proj_size=2, batch_first=True)(x)[0].shape[-1] for lstm in (nn.LSTM, LSTM))
assert found == true, f"features of the output: {found}, not {true}"
