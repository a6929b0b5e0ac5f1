"""Nothing right is flagged: the built-ins, and layers in other orders of operations. The manual layers pass conformance
itself, and `bench.calibrate` judges all of them on many more cases.
"""

from typing import Any

import pytest
import torch
from torch import nn

from rnn_parity.bench.plain import PLAIN, PlainGRU, State
from rnn_parity.bench.right import DECOMPOSED, HALVED
from rnn_parity.judge import Implementation, ParityError, assert_parity
from rnn_parity.reference.builtin import LAYERS

# In rotation, so that each dtype takes its part.
RIGHT = [
    *(
        (layer, kind, dtype)
        for (kind, layer), dtype in zip(LAYERS.items(), ("float32", "float64", "bfloat16"), strict=True)
    ),
    *(
        (layer, kind, dtype)
        for (kind, layer), dtype in zip(PLAIN.items(), ("float64", "float16", "float32"), strict=True)
    ),
]


@pytest.mark.parametrize(("layer", "kind", "dtype"), RIGHT, ids=lambda part: getattr(part, "__name__", part))
def test_passes(layer: Any, kind: str, dtype: str) -> None:
    assert_parity(layer, kind, dtype=dtype, examples=5)


class Widened(PlainGRU):
    """Each step in float32, whatever comes in and goes out."""

    def step(self, x: torch.Tensor, state: State, w: dict[str, torch.Tensor]) -> State:
        wide = super().step(x.float(), tuple(s.float() for s in state), {name: v.float() for name, v in w.items()})
        return tuple(s.to(x.dtype) for s in wide)


ROUNDING = [
    ("pytorch#32023 and pytorch#79501, a batch split", HALVED["rnn"], "rnn", "float64"),
    ("pytorch#32023 and pytorch#79501, a batch split", HALVED["gru"], "gru", "float32"),
    ("pytorch#32023 and pytorch#79501, a batch split", HALVED["lstm"], "lstm", "bfloat16"),
    ("pytorch#175845, 4e-4 in float16", Widened, "gru", "float16"),
    ("pytorch#175830, the operations that a compiler is given", DECOMPOSED["gru"], "gru", "float32"),
    ("pytorch#175830, the operations that a compiler is given", DECOMPOSED["lstm"], "lstm", "float32"),
]


@pytest.mark.parametrize(("report", "layer", "kind", "dtype"), ROUNDING, ids=lambda part: str(part)[:13])
def test_reports_of_rounding_are_no_faults(report: str, layer: Any, kind: str, dtype: str) -> None:
    assert_parity(layer, kind, dtype=dtype, aspects=("forward", "gradients", "stacking", "relations"), examples=6)


def test_pytorchs_decomposition_never_drops_anything() -> None:
    class Claims(DECOMPOSED["gru"]):  # type: ignore[misc, name-defined]
        parity_unsupported = ()

    with pytest.raises(ParityError, match="is not the GRU of the equations"):
        assert_parity(Claims, "gru", aspects="dropout")


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
    assert_parity(Renamed, "gru", aspects=("forward", "gradients", "stacking"), examples=8)


class Computed(Renamed):
    """The gradients are computed from the parameters, and so have a history."""

    @staticmethod
    def gradients(layer: nn.Module) -> dict[str, torch.Tensor | None]:
        own = ((name.removeprefix("inner."), p) for name, p in layer.named_parameters())
        return {name: None if p.grad is None else p.grad + 0 * p for name, p in own}


def test_gradients_that_an_adapter_computes_may_have_a_history() -> None:
    assert_parity(Computed, "gru", aspects="gradients", examples=1)


def test_what_is_declared_unsupported_is_not_held_against_a_layer() -> None:
    class Narrow(nn.LSTM):
        parity_unsupported = ("packed", "proj_size", "unbatched", "no_bias")

        def forward(self, input: Any, hx: Any = None) -> Any:
            if not isinstance(input, torch.Tensor) or input.dim() != 3 or self.proj_size or not self.bias:
                raise NotImplementedError
            return super().forward(input, hx)

    assert_parity(Narrow, "lstm", aspects=("forward", "gradients", "layouts", "packed", "relations"), examples=8)


def test_a_registered_implementation_passes() -> None:
    assert_parity(Implementation("rnn", nn.RNN, "mine"), "rnn", aspects="forward")
