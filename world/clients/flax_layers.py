"""Cells of flax.linen and flax.nnx, run by the RNN of each, which reads a sequence to its length."""

from collections.abc import Callable
from typing import Any

import flax.linen as linen
import jax
import jax.numpy as jnp
from flax import nnx

from rnn_parity.judge.adapters import layer
from rnn_parity.world.clients.jax_arrays import run_and_vjp

LACKING = ("no_bias", "proj_size", "num_layers", "bidirectional")


def flax_order(h: Any, c: Any) -> Any:
    return h if c is None else (c, h)


def torch_order(output: Any, carry: Any) -> tuple[Any, ...]:
    return (output, carry[1], carry[0]) if isinstance(carry, tuple) else (output, carry)


def activation(spec: Any) -> dict[str, Any]:
    return {"activation_fn": jax.nn.relu} if spec.nonlinearity == "relu" else {}


def in_linen(kind: str, cell_class: Callable[..., Any], parameters: Callable[..., Any]) -> Any:
    def function(spec: Any, w: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
        cell = cell_class(spec.hidden_size, param_dtype=x.dtype, **activation(spec))
        rnn = linen.RNN(cell, time_major=True, return_carry=True)
        variables = {"params": {"cell": parameters(w)}}
        carry, output = rnn.apply(variables, x, initial_carry=flax_order(h_0, c_0), seq_lengths=lengths)
        return torch_order(output, carry)

    return layer(kind, *run_and_vjp(function), unsupported=LACKING)


def kernels(w: Any, letters: str) -> dict[str, Any]:
    """Return a kernel for each gate of input and state."""
    split = {side: jnp.split(w[f"weight_{side}h"], len(letters)) for side in "ih"}
    return {f"{side}{g}": {"kernel": split[side][k].T} for side in "ih" for k, g in enumerate(letters)}


def linen_rnn(w: Any) -> dict[str, Any]:
    found = kernels(w, "h")
    return {"i": found["ih"] | {"bias": w["bias_ih"] + w["bias_hh"]}, "h": found["hh"]}


def linen_gru(w: Any) -> dict[str, Any]:
    found, ih, hh = kernels(w, "rzn"), jnp.split(w["bias_ih"], 3), jnp.split(w["bias_hh"], 3)
    biases = {"ir": ih[0] + hh[0], "iz": ih[1] + hh[1], "in": ih[2], "hn": hh[2]}
    return found | {name: found[name] | {"bias": bias} for name, bias in biases.items()}


def linen_lstm(w: Any) -> dict[str, Any]:
    found, biases = kernels(w, "ifgo"), jnp.split(w["bias_ih"] + w["bias_hh"], 4)
    return found | {f"h{g}": found[f"h{g}"] | {"bias": biases[k]} for k, g in enumerate("ifgo")}


def in_nnx(kind: str, cell_class: Callable[..., Any], fill: Callable[..., None], dialect: str = "") -> Any:
    def function(spec: Any, w: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
        cell = cell_class(
            x.shape[-1], spec.hidden_size, dtype=x.dtype, param_dtype=x.dtype, rngs=nnx.Rngs(0), **activation(spec)
        )
        fill(cell, w)
        rnn = nnx.RNN(cell, time_major=True, return_carry=True)
        carry, output = rnn(x, initial_carry=flax_order(h_0, c_0), seq_lengths=lengths)
        return torch_order(output, carry)

    return layer(kind, *run_and_vjp(function), unsupported=LACKING, dialect=dialect or ())


def nnx_rnn(cell: Any, w: Any) -> None:
    cell.dense_i.kernel, cell.dense_h.kernel = nnx.Param(w["weight_ih"].T), nnx.Param(w["weight_hh"].T)
    cell.dense_i.bias = nnx.Param(w["bias_ih"] + w["bias_hh"])


def nnx_gru(cell: Any, w: Any) -> None:
    cell.dense_i.kernel, cell.dense_h.kernel = nnx.Param(w["weight_ih"].T), nnx.Param(w["weight_hh"].T)
    cell.dense_i.bias = nnx.Param(w["bias"])


def nnx_lstm(cell: Any, w: Any) -> None:
    ih, hh = jnp.split(w["weight_ih"], 4), jnp.split(w["weight_hh"], 4)
    for k, bias in enumerate(jnp.split(w["bias_ih"] + w["bias_hh"], 4)):
        i, h = (getattr(cell, ("ii", "if_", "ig", "io")[k]), getattr(cell, ("hi", "hf", "hg", "ho")[k]))
        i.kernel, h.kernel, h.bias = nnx.Param(ih[k].T), nnx.Param(hh[k].T), nnx.Param(bias)


def nnx_optimized(cell: Any, w: Any) -> None:
    cell.dense_i.kernel, cell.dense_h.kernel = nnx.Param(w["weight_ih"].T), nnx.Param(w["weight_hh"].T)
    cell.dense_h.bias = nnx.Param(w["bias_ih"] + w["bias_hh"])


LinenSimple = in_linen("rnn", linen.SimpleCell, linen_rnn)
LinenGRU = in_linen("gru", linen.GRUCell, linen_gru)
LinenLSTM = in_linen("lstm", linen.LSTMCell, linen_lstm)
LinenOptimizedLSTM = in_linen("lstm", linen.OptimizedLSTMCell, linen_lstm)
NnxSimple = in_nnx("rnn", nnx.SimpleCell, nnx_rnn)
NnxGRU = in_nnx("gru", nnx.GRUCell, nnx_gru, dialect="one bias")
NnxLSTM = in_nnx("lstm", nnx.LSTMCell, nnx_lstm)
NnxOptimizedLSTM = in_nnx("lstm", nnx.OptimizedLSTMCell, nnx_optimized)
