"""brevitas.nn.QuantLSTM and QuantRNN in float64: load_state_dict rounds the biases to float32."""

import torch
from brevitas.nn import QuantRNN
from torch import nn

off = dict.fromkeys(("weight_quant", "bias_quant", "io_quant", "gate_acc_quant"))  # in full precision
layer, other = nn.RNN(3, 4, dtype=torch.float64), QuantRNN(3, 4, dtype=torch.float64, **off)
other.load_state_dict(layer.state_dict())
true, found = (f(torch.zeros(1, 1, 3, dtype=torch.float64))[0].flatten()[0].item() for f in (layer, other))
assert abs(found - true) < 1e-14, f"{found:.16f}, not {true:.16f}"
