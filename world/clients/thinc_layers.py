"""thinc.layers.LSTM: sequences sorted by length, float32, no states in or out, gradients by a callback."""

from typing import Any

import numpy as np
import thinc.api
from thinc.types import Padded

from rnn_parity.judge.adapters import layer

LACKING = ("initial_state", "final_state", "no_bias", "dropout", "proj_size", "only float32")


def names(spec: Any) -> list[str]:
    """Return the parameters in the order of the one array that they are parts of."""
    sides = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    return [f"{side}_{suffix}" for k in range(spec.num_layers) for suffix in spec.suffixes(k) for side in sides]


def called(weights: Any, x: Any, lengths: Any) -> Any:
    spec = weights.spec
    lengths = np.full(x.shape[1], len(x)) if lengths is None else lengths
    order = np.argsort(-lengths, kind="stable").astype("i")
    sizes = np.array([(lengths > t).sum() for t in range(len(x))], "i")
    bi = spec.bidirectional
    model = thinc.api.LSTM(nO=spec.hidden_size * spec.num_directions, nI=spec.input_size, bi=bi, depth=spec.num_layers)
    model.initialize()
    model.set_param("LSTM", np.concatenate([weights[name].ravel() for name in names(spec)]))

    def padded(values: Any) -> Padded:
        return Padded(np.ascontiguousarray(values[:, order]), sizes, lengths[order].astype("i"), order)

    output, back = model(padded(x), is_train=True)
    return model, padded, np.argsort(order), output, back


def run(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
    _, _, back_in_order, output, _ = called(weights, x, lengths)
    return output.data[:, back_in_order], None, None


def vjp(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> Any:
    model, padded, back_in_order, _, back = called(weights, x, lengths)
    of_x = back(padded(cotangents[0])).data[:, back_in_order]
    found, of_weights = model.get_grad("LSTM"), {}
    for name in names(weights.spec):
        size = weights[name].size
        of_weights[name], found = found[:size].reshape(weights[name].shape), found[size:]
    return of_weights, of_x, None, None


LSTM = layer("lstm", run, vjp, gates="fiog", whole=True, unsupported=LACKING)
