"""speechbrain.nnet.RNN: RNN, GRU and LSTM over torch.nn's, batch first; lengths are relative to the longest."""

from typing import Any

import speechbrain.nnet.RNN
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Called(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor | PackedSequence, state: Any = None) -> Any:
        if not isinstance(input, PackedSequence):
            output, state = self.layer(input.transpose(0, 1), state)
            return output.transpose(0, 1), state
        padded, lengths = pad_packed_sequence(input, batch_first=True)
        output, state = self.layer(padded, state, lengths / lengths.max())
        return pack_padded_sequence(output, lengths, True, input.sorted_indices is None), state


class Adapter:
    parity_unsupported = ("batch_first", "unbatched", "proj_size")

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        options = {"nonlinearity": builtin.nonlinearity} if isinstance(builtin, nn.RNN) else {}
        options |= {"dropout": builtin.dropout, "bidirectional": builtin.bidirectional, "bias": builtin.bias}
        layer = getattr(speechbrain.nnet.RNN, type(builtin).__name__)(
            builtin.hidden_size, input_size=builtin.input_size, num_layers=builtin.num_layers, **options
        ).to(builtin.weight_ih_l0.dtype)
        layer.rnn.load_state_dict(builtin.state_dict())
        return Called(layer)

    def gradients(self, called: Called) -> dict[str, Tensor | None]:
        return {name: parameter.grad for name, parameter in called.layer.rnn.named_parameters()}


adapter = Adapter()
