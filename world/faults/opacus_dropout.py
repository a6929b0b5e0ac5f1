"""opacus.layers: dropout acts on the last layer's output and on the state fed back, not only between layers."""

import torch
from opacus.layers import DPGRU, DPLSTM, DPRNN
from torch import nn

x, wrong = torch.ones(2, 1, 3), []
for kind, drop_in in ((nn.RNN, DPRNN), (nn.GRU, DPGRU), (nn.LSTM, DPLSTM)):
    layer, other = kind(3, 4, dropout=1.0), drop_in(3, 4, dropout=1.0)  # one layer: nothing is between layers
    other.load_state_dict(layer.state_dict())
    true, found = (f(x)[0].abs().max().item() for f in (layer, other))
    wrong += [] if abs(found - true) < 1e-6 else [f"{drop_in.__name__}: {found:.6f}, not {true:.6f}"]
assert not wrong, "; ".join(wrong)
