"""Dialects: what `reference` takes for true of each, what is said of a layer that speaks another than it says."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn_parity.judge import ImplementationError, ParityError, assert_parity
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.manual import ResetBeforeGRU
from rnn_parity.reference import LayerSpec
from rnn_parity.reference.oracle import Inputs, evaluate


class Changed(nn.RNNBase):
    """A layer of torch.nn that is run with other parameters than it has."""

    parity_dialect: Any = ()

    def changed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def forward(self, input: Any, hx: Any = None) -> Any:
        names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
        options = {name: getattr(self, name) for name in names} | (
            {"proj_size": self.proj_size} if self.proj_size else {}
        )
        layer = getattr(nn, self.mode)(**options, dtype=self.weight_ih_l0.dtype).train(self.training)
        return torch.func.functional_call(layer, self.changed(dict(self.named_parameters())), (input, hx))


class OneBias(Changed, nn.GRU):
    parity_dialect: Any = ("one bias",)

    def changed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        both = {n: p + parameters[n.replace("ih", "hh")] for n, p in parameters.items() if "bias_ih" in n}
        return {n: both.get(n, p * ("bias" not in n)) for n, p in parameters.items()}


class ForgetPlusOne(Changed, nn.LSTM):
    parity_dialect: Any = "forget bias + 1"
    parity_unsupported = "no_bias"

    def changed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        one = torch.repeat_interleave(torch.tensor([0, 1, 0, 0]), self.hidden_size)
        return {n: p + one.to(p.dtype) if "bias_ih" in n else p for n, p in parameters.items()}


class UpdateFirst(Changed, nn.GRU):
    def changed(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {n: torch.cat([p.chunk(3)[k] for k in (1, 0, 2)]) for n, p in parameters.items()}


SPOKEN = [("gru", ResetBeforeGRU), ("gru", OneBias), ("lstm", ForgetPlusOne)]


@pytest.mark.parametrize(("kind", "layer"), SPOKEN, ids=lambda part: getattr(part, "__name__", part))
def test_a_dialect_that_is_declared_is_judged_by_its_own_equations(kind: str, layer: Any) -> None:
    assert_parity(layer, kind, aspects=("stacking", "second_order"), examples=1)


@pytest.mark.parametrize(("kind", "layer"), SPOKEN, ids=lambda part: getattr(part, "__name__", part))
def test_and_a_fault_in_it_is_found(kind: str, layer: Any) -> None:
    class Wrong(layer):  # type: ignore[misc]
        def forward(self, input: Any, hx: Any = None) -> Any:
            output, state = super().forward(input, hx)
            return 1.001 * output, state

    with pytest.raises(ParityError, match="output is off by") as caught:
        assert_parity(Wrong, kind, aspects="forward", examples=1)
    plain = "reset before" not in layer.parity_dialect  # which torch.nn cannot speak
    assert caught.value.plain == plain
    if plain:
        with pytest.raises(AssertionError, match="output is off by"):
            exec(caught.value.reproducer.replace("Candidate = ...", ""), {"Candidate": Wrong})


@pytest.mark.parametrize(
    ("kind", "layer", "said"),
    [
        ("gru", ResetBeforeGRU, "this is the GRU with the reset before the product"),
        ("gru", OneBias, "this is the GRU with both biases added up before its gates"),
        ("lstm", ForgetPlusOne, "this is the LSTM with 1 added to the bias of its forget gate"),
        ("gru", UpdateFirst, "this is the GRU with its gates in the order z, r, n"),
    ],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_layer_that_speaks_another_is_told_its_name(kind: str, layer: Any, said: str) -> None:
    class Undeclared(layer):  # type: ignore[misc]
        parity_dialect = ()

    with pytest.raises(ParityError, match=said):
        assert_parity(Undeclared, kind, aspects="forward", examples=1)


def test_a_layer_that_speaks_none_though_it_says_so_is_told() -> None:
    class Claims(nn.GRU):
        parity_dialect = "reset before"

    with pytest.raises(ParityError, match=r"this is the GRU of torch\.nn"):
        assert_parity(Claims, "gru", aspects="forward", examples=1)


def test_a_layer_that_is_just_wrong_is_told_no_name() -> None:
    class Wrong(nn.GRU):
        def forward(self, input: Any, hx: Any = None) -> Any:
            output, h_n = super().forward(input, hx)
            return 1.001 * output, h_n

    with pytest.raises(ParityError) as caught:
        assert_parity(Wrong, "gru", aspects="forward", examples=1)
    assert "this is" not in str(caught.value)


def test_an_unknown_dialect_is_refused_with_those_there_are() -> None:
    class Strange(nn.GRU):
        parity_dialect = "forget bias + 1"

    with pytest.raises(ImplementationError, match="dialect of gru must be among one bias, reset before, got"):
        implementation_from(Strange, "gru")


def test_the_reset_before_the_product_as_it_is_written() -> None:
    spec = LayerSpec("gru", 2, 3, dialect=("reset before",))
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=shape) for name, shape in spec.parameter_shapes().items()}
    x, h = random.normal(size=(1, 1, 2)), random.normal(size=(1, 1, 3))
    (W_r, W_z, W_n), (U_r, U_z, U_n) = (np.split(weights[f"weight_{name}_l0"], 3) for name in ("ih", "hh"))
    b_r, b_z, b_n = np.split(weights["bias_ih_l0"] + weights["bias_hh_l0"], 3)
    r, z = (1 / (1 + np.exp(-(W @ x[0, 0] + U @ h[0, 0] + b))) for W, U, b in ((W_r, U_r, b_r), (W_z, U_z, b_z)))
    n = np.tanh(W_n @ x[0, 0] + U_n @ (r * h[0, 0]) + b_n)
    found = evaluate(spec, weights, Inputs(x, h))
    np.testing.assert_allclose(found["output"][0, 0], (1 - z) * n + z * h[0, 0], rtol=1e-12)
