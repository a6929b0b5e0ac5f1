"""Adapters: one function over arrays is a layer, and what is wrong with the function is not held against the layer."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from rnn_parity.judge import JudgeError, ParityError, assert_parity
from rnn_parity.judge.adapters import Weights, layer, through
from rnn_parity.judge.checks.equations import judge
from rnn_parity.judge.core.candidate import FEATURES, Implementation, implementation_from
from rnn_parity.judge.core.case import Case
from rnn_parity.reference import LayerSpec

CASE = Case(LayerSpec("gru", 2, 3), torch.float64, "cpu", 4, 3, seed=1, cotangents=("output", "h_n"))


def sigma(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def gru_zrn(weights: Weights, x: Any, h_0: Any, c_0: None, lengths: Any) -> Any:
    """A GRU in NumPy with its gates in the order z, r, n."""
    size = weights["weight_hh"].shape[1]
    none = np.zeros(3 * size, x.dtype)
    h, output = np.zeros((x.shape[1], size), x.dtype) if h_0 is None else h_0, []
    for t, x_t in enumerate(x):
        ih_z, ih_r, ih_n = np.split(x_t @ weights["weight_ih"].T + weights.get("bias_ih", none), 3, -1)
        hh_z, hh_r, hh_n = np.split(h @ weights["weight_hh"].T + weights.get("bias_hh", none), 3, -1)
        z, n = sigma(ih_z + hh_z), np.tanh(ih_n + sigma(ih_r + hh_r) * hh_n)
        running = np.ones((x.shape[1], 1), bool) if lengths is None else (t < lengths)[:, None]
        h = np.where(running, (1 - z) * n + z * h, h)
        output.append(h)
    return np.stack(output), h


def by_torch(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
    """An LSTM that wants (batch, seq_len, features)."""
    one = nn.LSTM(x.shape[2], weights.spec.hidden_size, 1, "bias_ih" in weights, True, dtype=x.dtype)
    named = {f"{name}_l0": w for name, w in weights.items()}
    output, (h_n, c_n) = torch.func.functional_call(one, named, (x, None if h_0 is None else (h_0[None], c_0[None])))
    return output, h_n[0], c_n[0]


def vjp_by_torch(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> Any:
    with torch.enable_grad():
        w = Weights({name: v.requires_grad_() for name, v in weights.items()}, weights.spec)
        given = [None if v is None else v.requires_grad_() for v in (x, h_0, c_0)]
        results = by_torch(w, *given, lengths)
        inputs = [v for v in (*w.values(), *given) if v is not None]
        found = list(torch.autograd.grad(results, inputs, cotangents))
    of_weights = dict(zip(w, found, strict=False))
    rest = iter(found[len(w) :])
    return of_weights, *(None if v is None else next(rest) for v in given)


def without_hh(*arguments: Any) -> Any:
    of_weights, *others = vjp_by_torch(*arguments)
    return {name: g for name, g in of_weights.items() if name != "bias_hh"}, *others


def doubled(*arguments: Any) -> Any:
    of_weights, *others = vjp_by_torch(*arguments)
    return {name: 2 * g for name, g in of_weights.items() if name != "bias_hh"}, *others


LSTM = {"arrays": "torch", "batch_first": True, "unsupported": ("packed", "proj_size")}


def test_a_function_over_numpy_arrays_is_a_layer() -> None:
    asked = ("stacking", "packed", "layouts")
    assert_parity(layer("gru", gru_zrn, gates="zrn"), "gru", aspects=asked, examples=1)


def test_with_its_vjp_it_has_a_backward_pass() -> None:
    lstm: Any = layer("lstm", by_torch, vjp_by_torch, **LSTM)  # type: ignore[arg-type]
    assert "gradients" not in lstm.parity_unsupported
    assert_parity(lstm, "lstm", aspects="stacking", examples=1)


def test_a_gradient_that_is_left_out_is_not_compared_and_the_others_are() -> None:
    case = replace(CASE, spec=LayerSpec("lstm", 2, 3), cotangents=("output",))
    left_out = judge(implementation_from(layer("lstm", by_torch, without_hh, **LSTM), "lstm"), case)  # type: ignore[arg-type]
    assert left_out.ok
    assert left_out.left_out == ["bias_hh_l0.grad"]
    wrong = judge(implementation_from(layer("lstm", by_torch, doubled, **LSTM), "lstm"), case)  # type: ignore[arg-type]
    assert {f.tensor for f in wrong.findings if f.ratio > 1} == {
        f"{n}_l0.grad" for n in ("weight_ih", "weight_hh", "bias_ih")
    }


def test_a_layer_of_its_own_that_has_no_such_parameter_is_wrong() -> None:
    class Fewer(nn.GRU):
        def named_parameters(self, *arguments: Any, **options: Any) -> Any:
            return ((n, p) for n, p in super().named_parameters(*arguments, **options) if n != "bias_hh_l0")

    assert [f.tensor for f in judge(implementation_from(Fewer, "gru"), CASE).findings if f.ratio > 1] == [
        "bias_hh_l0.grad"
    ]


def nothing_of_the_name(*arguments: Any) -> Any:
    return undefined  # type: ignore[name-defined] # noqa: F821


def too_narrow(*arguments: Any) -> Any:
    output, h_n = gru_zrn(*arguments)
    return output[..., :1], h_n


def a_dict(*arguments: Any) -> Any:
    return {"output": gru_zrn(*arguments)[0]}


def of_text(*arguments: Any) -> Any:
    return "output", "h_n"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (nothing_of_the_name, "the adapter, in forward, raised NameError: name 'undefined' is not defined"),
        (too_narrow, r"expected run to return output of shape \(.*, 1\)"),
        (a_dict, "expected run to return output, h_n and c_n, got dict"),
        (of_text, "expected an array, got"),
    ],
)
def test_what_the_adapter_does_is_not_said_of_the_layer(run: Any, said: str) -> None:
    with pytest.raises(JudgeError, match=said) as caught:
        assert_parity(layer("gru", run, gates="zrn"), "gru", aspects="forward", examples=1)
    assert "nothing is said of the layer behind" in str(caught.value)
    with pytest.raises(Exception, match=r"not defined|expected"):
        exec(caught.value.reproducer.replace("Candidate = ...", ""), {"Candidate": layer("gru", run, gates="zrn")})


def test_what_the_layer_behind_it_raises_is() -> None:
    def refused(*arguments: Any) -> Any:
        return np.linalg.inv(np.zeros((2, 3)))

    with pytest.raises(ParityError, match="forward raised LinAlgError"):
        assert_parity(layer("gru", refused), "gru", aspects="forward", examples=1)


def test_what_an_adapter_of_two_methods_raises_is_its_own() -> None:
    class Adapter:
        def from_builtin(self, builtin: Any) -> Any:
            return builtin

        def gradients(self, built: Any) -> Any:
            return {}["missing"]

    with pytest.raises(JudgeError, match="the adapter, in gradients, raised KeyError"):
        assert_parity(Adapter(), "gru", aspects="gradients", examples=1)


def test_through_differentiates_a_function_of_arrays() -> None:
    spec = LayerSpec("lstm", 2, 3)
    run = through(by_torch, vjp_by_torch, arrays="torch")
    values = {n.removesuffix("_l0"): torch.randn(s, requires_grad=True) for n, s in spec.parameter_shapes().items()}
    x = torch.randn(1, 4, 2, requires_grad=True)
    output, *_ = run(Weights(values, spec), x, None, None, None)
    output.sum().backward()
    assert x.grad is not None
    assert all(v.grad is not None for v in values.values())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "gro"}, "kind must be one of rnn, gru, lstm, got 'gro'"),
        ({"gates": "zrh"}, "gates of gru must be rzn in some order, got 'zrh'"),
        ({"dialect": "two biases"}, "dialect of gru must be among"),
        ({"arrays": "jax"}, "arrays must be numpy or torch, got 'jax'"),
    ],
)
def test_what_describes_no_layer_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        layer(**{"kind": "gru", "run": gru_zrn, **options})


def test_the_kind_is_that_of_the_name_where_it_tells() -> None:
    class MyGRU(nn.GRU):
        pass

    class Mine(nn.GRU):
        pass

    assert_parity(MyGRU, aspects="forward", examples=1)
    assert_parity(layer("gru", gru_zrn, gates="zrn"), aspects="forward", examples=1)
    with pytest.raises(ValueError, match=r"expected kind to be one of rnn, gru, lstm: the name 'Mine' does not tell"):
        assert_parity(Mine)


def test_only_declares_the_others_unsupported() -> None:
    one = Implementation("gru", nn.GRU, "one", unsupported=frozenset({"only forward", "only float32", "only cpu"}))
    others = {"gradients", "second_order", "float64", "bfloat16", "float16", "cuda"}
    assert one.unsupported == others
    with pytest.raises(ValueError, match=r"only moonlight unsupported; known are .* and only forward, only float64"):
        Implementation("gru", nn.GRU, "one", unsupported=frozenset({"only moonlight"}))


def test_a_layer_without_final_states_and_of_one_dtype_is_judged_in_full() -> None:
    class Bare(nn.GRU):
        parity_unsupported = ("only float32", "final_state", "state_gradients", "eval_gradients", "zero_weights")

        def forward(self, input: Any, hx: Any = None) -> Any:
            assert self.weight_ih_l0.any()
            assert self.training or not (torch.is_grad_enabled() and input.requires_grad)
            assert not (torch.is_grad_enabled() and hx is not None and hx.requires_grad)
            return super().forward(input, hx)[0], None

    assert set(Bare.parity_unsupported) - {"only float32"} < set(FEATURES)
    assert_parity(Bare, "gru", dtype="float32", aspects=("gradients", "dropout", "state"), examples=1)
