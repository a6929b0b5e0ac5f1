"""opacus.layers: DPRNN, DPGRU and DPLSTM for differential privacy: torch.nn's names, no place for a dtype."""

from typing import Any

from opacus.layers import DPGRU, DPLSTM, DPRNN
from torch import nn


def drop_in(layer: type[nn.Module]) -> Any:
    def build(*sizes: int, device: Any, dtype: Any, **options: Any) -> nn.Module:
        return layer(*sizes, **options).to(device, dtype)

    build.parity_unsupported = ("proj_size", "unbatched")
    return build


rnn, gru, lstm = drop_in(DPRNN), drop_in(DPGRU), drop_in(DPLSTM)
