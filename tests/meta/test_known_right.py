"""Nothing right is flagged: the built-ins, and a layer in another style. The manual layers pass conformance itself."""

from typing import Any

import pytest
import torch
from torch import nn

from rnn_parity.judge import Implementation, assert_parity
from rnn_parity.judge.implementation import DTYPES
from rnn_parity.reference.builtin import LAYERS
from rnn_parity.tests.meta.plain import PLAIN

RIGHT = [(layer, kind) for group in (LAYERS, PLAIN) for kind, layer in group.items()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layer", "kind"), RIGHT, ids=lambda part: getattr(part, "__name__", part))
def test_passes(layer: Any, kind: str, dtype: str) -> None:
    assert_parity(layer, kind, dtype=dtype, examples=10)


class Renamed(nn.Module):
    """A GRU whose parameters have names of their own."""

    def __init__(self, builtin: nn.GRU) -> None:
        super().__init__()
        self.inner = builtin

    def forward(self, input: Any, hx: Any = None) -> Any:
        return self.inner(input, hx)

    @staticmethod
    def from_builtin(builtin: nn.GRU) -> "Renamed":
        return Renamed(builtin)

    @staticmethod
    def gradients(layer: nn.Module) -> dict[str, torch.Tensor | None]:
        return {name.removeprefix("inner."): p.grad for name, p in layer.named_parameters()}


def test_an_adapter_passes() -> None:
    assert_parity(Renamed, "gru", examples=15)


def test_what_is_declared_unsupported_is_not_held_against_a_layer() -> None:
    class Narrow(nn.LSTM):
        parity_unsupported = ("packed", "proj_size", "unbatched", "no_bias")

        def forward(self, input: Any, hx: Any = None) -> Any:
            if not isinstance(input, torch.Tensor) or input.dim() != 3 or self.proj_size or not self.bias:
                raise NotImplementedError
            return super().forward(input, hx)

    assert_parity(Narrow, "lstm", examples=15)


def test_a_registered_implementation_passes() -> None:
    assert_parity(Implementation("rnn", nn.RNN, "mine"), "rnn", examples=5)
