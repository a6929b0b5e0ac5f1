"""keras.layers: SimpleRNN, GRU and LSTM, stacked, by Bidirectional, with masks, on the backend of KERAS_BACKEND."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from rnn_parity.judge.adapters import layer

LACKING = ("dropout", "proj_size")


def on_keras(keras_layer: Callable[..., Any], bias: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Return a function of (spec, weights, input, h_0, c_0, lengths) over tensors of the backend.

    Args:
        keras_layer: its class.
        bias: makes one of bias_ih and bias_hh.
        options: of the constructor.
    """

    def function(spec: Any, w: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
        dtype = keras.backend.standardize_dtype(x.dtype)
        mask = None if lengths is None else keras.ops.convert_to_tensor(np.arange(x.shape[1]) < lengths[:, None])
        ends: list[Any] = []
        for k in range(spec.num_layers):
            more = {"activation": spec.nonlinearity} if keras_layer is keras.layers.SimpleRNN else {}
            one = keras_layer(
                spec.hidden_size,
                use_bias=spec.bias,
                return_sequences=True,
                return_state=True,
                dtype=dtype,
                **options,
                **more,
            )
            both = keras.layers.Bidirectional(one, dtype=dtype) if spec.bidirectional else one
            both.build(tuple(x.shape))
            variables, start = [], []
            for row, suffix in enumerate(spec.suffixes(k), len(ends)):
                variables += [keras.ops.transpose(w[f"weight_{side}_{suffix}"]) for side in ("ih", "hh")]
                variables += [bias(w[f"bias_ih_{suffix}"], w[f"bias_hh_{suffix}"])] if spec.bias else []
                start += [s[row] for s in (h_0, c_0) if s is not None]
            others = [v.value for v in both.non_trainable_variables]
            given = {"initial_state": start} if start else {}
            (x, *states), _ = both.stateless_call(variables, others, x, mask=mask, **given)
            half = len(states) // spec.num_directions
            ends += [states[:half], states[half:]][: spec.num_directions]
        return x, *map(keras.ops.stack, zip(*ends, strict=True))

    return function


def differentiated(function: Callable[..., Any]) -> tuple[Any, ...]:
    """Return `run`, `vjp` and the kind of arrays for a function of tensors of the backend."""
    backend = keras.backend.backend()
    if backend == "jax":
        from rnn_parity.world.clients.jax_arrays import run_and_vjp

        return *run_and_vjp(function), "numpy"
    if backend == "tensorflow":
        return *in_tensorflow(function), "numpy"
    return *in_torch(function), "torch"


def in_torch(function: Callable[..., Any]) -> tuple[Any, Any]:
    import torch

    def run(weights: Any, *arrays: Any) -> Any:
        return function(weights.spec, weights, *arrays)

    def vjp(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> Any:
        with torch.enable_grad():
            w = {name: values.requires_grad_() for name, values in weights.items()}
            given = [x.requires_grad_(), *(None if s is None else s.requires_grad_() for s in (h_0, c_0))]
            results = function(weights.spec, w, *given, lengths)
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=False) if c is not None]
        of = [*(t for t in given if t is not None), *w.values()]
        found = list(torch.autograd.grad([r for r, _ in pairs], of, [c for _, c in pairs], allow_unused=True))
        of_given = [None if t is None else found.pop(0) for t in given]
        return dict(zip(w, found, strict=True)), *of_given

    return run, vjp


def in_tensorflow(function: Callable[..., Any]) -> tuple[Any, Any]:
    import tensorflow as tf

    def tensors(weights: Any, *arrays: Any) -> Any:
        w = {name: tf.constant(values) for name, values in weights.items()}
        return w, [None if a is None else tf.constant(a) for a in arrays]

    def run(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
        w, given = tensors(weights, x, h_0, c_0)
        return tuple(r.numpy() for r in function(weights.spec, w, *given, lengths))

    def vjp(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> Any:
        w, given = tensors(weights, x, h_0, c_0)
        with tf.GradientTape() as tape:
            tape.watch([*w.values(), *(t for t in given if t is not None)])
            results = function(weights.spec, w, *given, lengths)
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=False) if c is not None]
        found = tape.gradient(
            [r for r, _ in pairs], [w, *(t for t in given if t is not None)], [tf.constant(c) for _, c in pairs]
        )
        of_w = {name: None if g is None else g.numpy() for name, g in found[0].items()}
        rest = [None if g is None else g.numpy() for g in found[1:]]
        return of_w, *[*rest, None, None][:3]

    return run, vjp


def of_keras(kind: str, function: Callable[..., Any], **more: Any) -> Any:
    run, vjp, arrays = differentiated(function)
    return layer(kind, run, vjp, arrays=arrays, whole=True, batch_first=True, unsupported=LACKING, **more)


def added(ih: Any, hh: Any) -> Any:
    return ih + hh


def side_by_side(ih: Any, hh: Any) -> Any:
    return keras.ops.stack([ih, hh])


SimpleRNN = of_keras("rnn", on_keras(keras.layers.SimpleRNN, added))
GRU = of_keras("gru", on_keras(keras.layers.GRU, side_by_side), gates="zrn")
GRUResetBefore = of_keras(
    "gru", on_keras(keras.layers.GRU, added, reset_after=False), gates="zrn", dialect="reset before"
)
LSTM = of_keras("lstm", on_keras(keras.layers.LSTM, added))
