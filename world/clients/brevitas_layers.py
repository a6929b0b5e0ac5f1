"""brevitas.nn: QuantRNN and QuantLSTM with every quantizer off; one bias of each gate."""

from typing import Any

import torch
from brevitas.nn import QuantLSTM, QuantRNN
from torch import Tensor, nn

OFF = dict.fromkeys(("weight_quant", "bias_quant", "io_quant", "gate_acc_quant"))
OFF_IN_LSTM = dict.fromkeys(("sigmoid_quant", "tanh_quant", "cell_state_quant"))
GATES = ("input_gate_params", "forget_gate_params", "cell_gate_params", "output_gate_params")


class Called(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor, state: Any = None) -> Any:
        return self.layer(input, *state) if isinstance(state, tuple) else self.layer(input, state)


class Adapter:
    parity_unsupported = ("packed", "unbatched", "dropout", "proj_size")

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "bidirectional")
        options = {name: getattr(builtin, name) for name in names} | {"dtype": builtin.weight_ih_l0.dtype} | OFF
        lstm = isinstance(builtin, nn.LSTM)
        layer = QuantLSTM(**options, **OFF_IN_LSTM) if lstm else QuantRNN(**options, nonlinearity=builtin.nonlinearity)
        layer.load_state_dict(builtin.state_dict())
        return Called(layer)

    def gradients(self, called: Called) -> dict[str, Tensor | None]:
        found: dict[str, Tensor | None] = {}
        for k, directions in enumerate(called.layer.layers):
            for one, suffix in zip(directions, ("", "_reverse"), strict=False):
                gates = [getattr(one, name) for name in GATES if hasattr(one, name)] or [one.gate_params]
                bias = joined([gate.bias for gate in gates])
                found[f"weight_ih_l{k}{suffix}"] = joined([gate.input_weight.weight for gate in gates])
                found[f"weight_hh_l{k}{suffix}"] = joined([gate.hidden_weight.weight for gate in gates])
                if bias is not None:
                    found |= {f"bias_ih_l{k}{suffix}": bias, f"bias_hh_l{k}{suffix}": bias}
        return found


def joined(parameters: list[Any]) -> Tensor | None:
    if any(p is None or p.grad is None for p in parameters):
        return None
    return torch.cat([p.grad for p in parameters])


adapter = Adapter()
