"""PyTorch's own recurrent layers, built from a `LayerSpec`."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from .spec import LayerSpec

LAYERS: dict[str, type[nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def builtin_layer(
    spec: LayerSpec, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> nn.RNNBase:
    """Build `torch.nn.RNN`, `GRU` or `LSTM` from a spec, on the given device and in the given dtype."""
    with warnings.catch_warnings():
        # dropout with one layer does nothing, and PyTorch says so each time.
        warnings.filterwarnings("ignore", message="dropout option adds dropout")
        return LAYERS[spec.kind](**spec.arguments(), device=device, dtype=dtype)
