"""fastai.text: WeightDropout, that AWD-LSTM drops recurrent weights by, here none."""

import copy

from fastai.text.models.awdlstm import WeightDropout
from torch import Tensor, nn

# None is dropped. After a call without gradients in training mode with exactly 0, its next call in eval mode raises.
PROBABILITY = 1e-300


class Adapter:
    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        names = [name for name, _ in builtin.named_parameters() if name.startswith("weight_hh")]
        return WeightDropout(copy.deepcopy(builtin), PROBABILITY, names)

    def gradients(self, layer: nn.Module) -> dict[str, Tensor | None]:
        return {
            name.removeprefix("module.").removesuffix("_raw"): parameter.grad
            for name, parameter in layer.named_parameters()
        }


adapter = Adapter()
