"""fastai.text: WeightDropout, that AWD-LSTM drops recurrent weights by, here with probability 0."""

import copy

from fastai.text.models.awdlstm import WeightDropout
from torch import Tensor, nn


class Adapter:
    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        names = [name for name, _ in builtin.named_parameters() if name.startswith("weight_hh")]
        return WeightDropout(copy.deepcopy(builtin), 0.0, names)

    def gradients(self, layer: nn.Module) -> dict[str, Tensor | None]:
        return {
            name.removeprefix("module.").removesuffix("_raw"): parameter.grad
            for name, parameter in layer.named_parameters()
        }


adapter = Adapter()
