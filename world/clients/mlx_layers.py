"""mlx.nn: RNN, GRU and LSTM on the CPU, one layer, one direction, batch first."""

from typing import Any

import mlx.core as mx
import mlx.nn
import numpy as np

from rnn_parity.judge.adapters import layer

mx.set_default_device(mx.cpu)


def array(values: Any) -> Any:
    return mx.array(values, dtype=getattr(mx, values.dtype.name))


def on_mlx(kind: str, built: Any) -> Any:
    def function(spec: Any, names: Any, x: Any, states: Any, *weights: Any) -> Any:
        module = built(spec, dict(zip(names, weights, strict=True)))
        found = module(x, *states)
        found = found if isinstance(found, tuple) else (found,)
        return [found[0], *(states[:, -1] for states in found)]

    def given(weights: Any, x: Any, h_0: Any, c_0: Any) -> Any:
        return array(x), [array(s) for s in (h_0, c_0) if s is not None], [array(w) for w in weights.values()]

    def run(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
        x, states, arrays = given(weights, x, h_0, c_0)
        return tuple(map(np.array, function(weights.spec, weights, x, states, *arrays)))

    def vjp(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> Any:
        x, states, arrays = given(weights, x, h_0, c_0)
        n = len(states)

        def flat(x: Any, *rest: Any) -> Any:
            return function(weights.spec, weights, x, rest[:n], *rest[n:])

        results = flat(x, *states, *arrays)
        wanted = [mx.zeros_like(r) if c is None else array(c) for r, c in zip(results, cotangents, strict=False)]
        _, found = mx.vjp(flat, [x, *states, *arrays], wanted)
        of_x, *of_rest = map(np.array, found)
        of_states = [*of_rest[:n], None, None][:2] if n else [None, None]
        return dict(zip(weights, of_rest[n:], strict=True)), of_x, *of_states

    return layer(kind, run, vjp, batch_first=True, unsupported=("packed", "proj_size", "num_layers", "bidirectional"))


def rnn(spec: Any, w: Any) -> Any:
    options = {"nonlinearity": mlx.nn.relu} if spec.nonlinearity == "relu" else {}
    module = mlx.nn.RNN(spec.input_size, spec.hidden_size, bias=spec.bias, **options)
    module.Wxh, module.Whh = w["weight_ih"], w["weight_hh"]
    if spec.bias:
        module.bias = w["bias_ih"] + w["bias_hh"]
    return module


def gru(spec: Any, w: Any) -> Any:
    module = mlx.nn.GRU(spec.input_size, spec.hidden_size, bias=spec.bias)
    module.Wx, module.Wh = w["weight_ih"], w["weight_hh"]
    if spec.bias:
        (*ih, n), (*hh, module.bhn) = mx.split(w["bias_ih"], 3), mx.split(w["bias_hh"], 3)
        module.b = mx.concatenate([ih[0] + hh[0], ih[1] + hh[1], n])
    return module


def lstm(spec: Any, w: Any) -> Any:
    module = mlx.nn.LSTM(spec.input_size, spec.hidden_size, bias=spec.bias)
    module.Wx, module.Wh = w["weight_ih"], w["weight_hh"]
    if spec.bias:
        module.bias = w["bias_ih"] + w["bias_hh"]
    return module


RNN, GRU, LSTM = on_mlx("rnn", rnn), on_mlx("gru", gru), on_mlx("lstm", lstm)
