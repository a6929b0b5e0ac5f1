"""The layers on the engine of Triton kernels where that takes a call, until a GPU has shown it right."""

from . import layers
from .operations import Operations
from .triton import Triton


class RNN(layers.RNN):
    """`manual.fused.RNN` on Triton kernels."""

    engines = (Triton(), Operations())


class GRU(layers.GRU):
    """`manual.fused.GRU` on Triton kernels."""

    engines = (Triton(), Operations())


class LSTM(layers.LSTM):
    """`manual.fused.LSTM` on Triton kernels."""

    engines = (Triton(), Operations())
