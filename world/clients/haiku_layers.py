"""haiku: GRU and LSTM, unrolled by dynamic_unroll."""

from typing import Any

import haiku as hk
import jax.numpy as jnp

from rnn_parity.judge.adapters import layer
from rnn_parity.world.clients.jax_arrays import run_and_vjp


def unrolled(core: Any, parameters: Any, x: Any, state: Any) -> Any:
    @hk.without_apply_rng
    @hk.transform
    def program(x: Any, state: Any) -> Any:
        return hk.dynamic_unroll(core(), x, state)

    return program.apply(parameters, x, state)


def gru(spec: Any, w: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
    """Its z is 1 - z, the sigmoid of what is negated here."""
    sign = jnp.repeat(jnp.asarray([-1, 1, 1], x.dtype), spec.hidden_size)
    bias = w["bias"] if spec.bias else jnp.zeros_like(sign)
    parameters = {"w_i": (w["weight_ih"].T * sign), "w_h": (w["weight_hh"].T * sign), "b": bias * sign}
    h_0 = jnp.zeros((x.shape[1], spec.hidden_size), x.dtype) if h_0 is None else h_0
    return unrolled(lambda: hk.GRU(spec.hidden_size), {"gru": parameters}, x, h_0)


def lstm(spec: Any, w: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
    kernel = jnp.concatenate([w["weight_ih"].T, w["weight_hh"].T])
    parameters = {"w": kernel, "b": w["bias_ih"] + w["bias_hh"]}
    zero = jnp.zeros((x.shape[1], spec.hidden_size), x.dtype)
    state = hk.LSTMState(*((zero, zero) if h_0 is None else (h_0, c_0)))
    output, state = unrolled(lambda: hk.LSTM(spec.hidden_size), {"lstm/linear": parameters}, x, state)
    return output, state.hidden, state.cell


LACKING = ("packed", "no_bias", "proj_size", "num_layers", "bidirectional")

GRU = layer("gru", *run_and_vjp(gru), gates="zrn", dialect=("one bias", "reset before"), unsupported=LACKING)
LSTM = layer("lstm", *run_and_vjp(lstm), gates="igfo", dialect="forget bias + 1", unsupported=LACKING)
