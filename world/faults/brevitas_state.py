"""brevitas.nn.QuantLSTM and QuantRNN of two one-way layers: a first state is indexed past its end."""

import torch
from brevitas.nn import QuantRNN
from torch import nn

off = dict.fromkeys(("weight_quant", "bias_quant", "io_quant", "gate_acc_quant"))  # in full precision
layer, other = nn.RNN(3, 4, 2), QuantRNN(3, 4, 2, **off)
other.load_state_dict(layer.state_dict())
x, h_0 = torch.ones(5, 1, 3), torch.ones(2, 1, 4)
true, found = (f(x, h_0)[0].sum().item() for f in (layer, other))
assert abs(found - true) < 1e-5, f"{found:.6f}, not {true:.6f}"
