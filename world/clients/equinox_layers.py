"""equinox.nn: GRUCell and LSTMCell for one sequence, mapped over the batch and scanned."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from rnn_parity.judge.adapters import layer
from rnn_parity.world.clients.jax_arrays import run_and_vjp


def scanned(cell: Any, x: Any, state: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        state = jax.vmap(cell)(x, state)
        return state, state[0] if isinstance(state, tuple) else state

    state, output = jax.lax.scan(step, state, x)
    return (output, *state) if isinstance(state, tuple) else (output, state)


def built(cell_class: Any, spec: Any, w: Any, x: Any) -> Any:
    options = {"use_bias": spec.bias, "dtype": x.dtype, "key": jax.random.PRNGKey(0)}
    cell = cell_class(x.shape[-1], spec.hidden_size, **options)
    return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh), cell, (w["weight_ih"], w["weight_hh"]))


def gru(spec: Any, w: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
    cell = built(eqx.nn.GRUCell, spec, w, x)
    if spec.bias:
        (*ih, n), (*hh, bias_n) = jnp.split(w["bias_ih"], 3), jnp.split(w["bias_hh"], 3)
        bias = jnp.concatenate([ih[0] + hh[0], ih[1] + hh[1], n])
        cell = eqx.tree_at(lambda c: (c.bias, c.bias_n), cell, (bias, bias_n))
    return scanned(cell, x, jnp.zeros((x.shape[1], spec.hidden_size), x.dtype) if h_0 is None else h_0)


def lstm(spec: Any, w: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
    cell = built(eqx.nn.LSTMCell, spec, w, x)
    if spec.bias:
        cell = eqx.tree_at(lambda c: c.bias, cell, w["bias_ih"] + w["bias_hh"])
    zero = jnp.zeros((x.shape[1], spec.hidden_size), x.dtype)
    return scanned(cell, x, (zero, zero) if h_0 is None else (h_0, c_0))


LACKING = ("packed", "proj_size", "num_layers", "bidirectional")

GRU = layer("gru", *run_and_vjp(gru), unsupported=LACKING)
LSTM = layer("lstm", *run_and_vjp(lstm), unsupported=LACKING)
