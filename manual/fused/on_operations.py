"""The layers on the engine of PyTorch operations alone, to be judged and timed beside the others."""

from . import layers
from .operations import Operations


class RNN(layers.RNN):
    """`manual.fused.RNN` on PyTorch operations."""

    engines = (Operations(),)


class GRU(layers.GRU):
    """`manual.fused.GRU` on PyTorch operations."""

    engines = (Operations(),)


class LSTM(layers.LSTM):
    """`manual.fused.LSTM` on PyTorch operations."""

    engines = (Operations(),)
