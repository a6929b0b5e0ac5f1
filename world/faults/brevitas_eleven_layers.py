"""brevitas.nn.QuantLSTM and QuantRNN: more than ten layers cannot be loaded, for "_l1" is looked for in "_l10"."""

import torch
from brevitas.nn import QuantRNN
from torch import nn

off = dict.fromkeys(("weight_quant", "bias_quant", "io_quant", "gate_acc_quant"))  # in full precision
layer, other = nn.RNN(3, 4, 11), QuantRNN(3, 4, 11, **off)
other.load_state_dict(layer.state_dict())
true, found = (f(torch.ones(5, 1, 3))[0].sum().item() for f in (layer, other))
assert abs(found - true) < 1e-5, f"{found:.6f}, not {true:.6f}"
