"""opacus.layers: packed float64 input gives states rounded to float32."""

import torch
from opacus.layers import DPGRU, DPLSTM, DPRNN
from torch import nn

x, wrong = nn.utils.rnn.pack_sequence([torch.ones(2, 3, dtype=torch.float64)]), []
for kind, drop_in in ((nn.RNN, DPRNN), (nn.GRU, DPGRU), (nn.LSTM, DPLSTM)):
    layer, other = kind(3, 4, dtype=torch.float64), drop_in(3, 4).double()
    other.load_state_dict(layer.state_dict())
    true, found = (f(x)[1] for f in (layer, other))
    true, found = ((s[0] if kind is nn.LSTM else s).flatten()[0].item() for s in (true, found))
    wrong += [] if abs(found - true) < 1e-14 else [f"{drop_in.__name__}: {found:.16f}, not {true:.16f}"]
assert not wrong, "; ".join(wrong)
