"""The oracle's layers: the cells of `equations` over time, in both directions, stacked, forward and backward.

Axes: a sequence is (seq_len, copies, directions, batch, features), a state (copies, directions, batch, features),
a weight (copies, directions, rows, columns). `copies` is 1 unless the rounding perturbs some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Shaped

from .equations import CELLS, Array, Exact, Rounding
from .spec import LayerSpec


@dataclass
class Inputs:
    """What a stack is run on, in the layout of a padded, time-major batch.

    Args:
        input: (seq_len, batch, input_size).
        h_0: (num_layers * num_directions, batch, state_size), None for zeros.
        c_0: (num_layers * num_directions, batch, hidden_size), None for zeros; "lstm" only.
        lengths: one per sequence; None where all have seq_len steps. Padded outputs are zero.
        cotangents: the loss's gradients of output, h_n and c_n; one that is absent is zero. With None there is
            no backward pass.
        masks: what multiplies the output of every layer but the last, (seq_len, batch, features) each: dropout.
    """

    input: Shaped[np.ndarray, "seq_len batch input_size"]
    h_0: Shaped[np.ndarray, "rows batch state"] | None = None
    c_0: Shaped[np.ndarray, "rows batch hidden"] | None = None
    lengths: Sequence[int] | None = None
    cotangents: Mapping[str, Shaped[np.ndarray, "_ batch _"]] | None = None
    masks: Sequence[Shaped[np.ndarray, "_ _ _"]] | None = None


def evaluate(
    spec: LayerSpec,
    weights: Mapping[str, Shaped[np.ndarray, ...]],
    inputs: Inputs,
    rounding: Rounding | None = None,
) -> dict[str, Shaped[np.ndarray, ...]]:
    """Run a stack forward and, given cotangents, backward, in the dtype of the input.

    Args:
        spec: the layers.
        weights: every parameter by its `torch.nn` name.
        inputs: the sequence, states, lengths and cotangents.
        rounding: noise for intermediate results; its copies come as a leading axis of every result.

    Returns:
        output (seq_len, batch, num_directions * state_size), h_n and, for "lstm", c_n, shaped like h_0 and c_0;
        with cotangents also input.grad, h_0.grad, c_0.grad and NAME.grad for each parameter.
    """
    with np.errstate(all="ignore"):  # overflow is part of some inputs, and judged by whoever asked
        return _Run(spec, weights, inputs, rounding).results()


@dataclass
class _Layer:
    """The weights of one layer, both directions, and what its forward pass leaves for its backward pass."""

    W_ih: Array
    W_hh: Array
    b_ih: Array | int
    b_hh: Array | int
    W_hr: Array | None
    x: Array = field(default_factory=lambda: np.empty(0))
    h: list[Array] = field(default_factory=list)  # h_{t-1} for each t, then h_T
    full: list[Array] = field(default_factory=list)  # h_t before the projection
    steps: list[Any] = field(default_factory=list)


class _Run:
    def __init__(
        self, spec: LayerSpec, weights: Mapping[str, Array], inputs: Inputs, rounding: Rounding | None
    ) -> None:
        self.spec, self.weights, self.given = spec, weights, inputs
        self.squeeze = rounding is None
        self.rnd: Rounding = rounding or Exact()
        self.cell = CELLS[spec.kind, spec.nonlinearity]
        self.seq_len, self.batch, _ = inputs.input.shape
        self.active: Array | None = None  # (seq_len, batch, 1): the step is within the sequence
        if inputs.lengths is not None:
            self.active = (np.arange(self.seq_len)[:, None] < np.asarray(inputs.lengths))[..., None]
        self.layers: list[_Layer] = []

    def results(self) -> dict[str, Array]:
        output, h_n, c_n = self.forward()
        found = {"output": output, "h_n": h_n}
        if c_n is not None:
            found["c_n"] = c_n
        if self.given.cotangents is not None:
            found |= self.backward(self.given.cotangents)
        return {name: array[0] for name, array in found.items()} if self.squeeze else found

    # forward

    def forward(self) -> tuple[Array, Array, Array | None]:
        x = self.spread_out(self.given.input[:, None, None])
        h_n, c_n = [], []
        for layer in range(self.spec.num_layers):
            if layer and self.given.masks is not None:
                x = self.rnd(x * self.given.masks[layer - 1][:, None, None])
            h_sequence, h, c = self.forward_layer(layer, x)
            h_n.append(h)
            c_n.append(c)
            x = np.concatenate(self.in_time(h_sequence), axis=-1)
        output = np.moveaxis(x[:, :, 0], 1, 0)
        return output, np.concatenate(h_n, axis=1), _rows(c_n)

    def forward_layer(self, index: int, x: Array) -> tuple[Array, Array, Array | None]:
        layer = self.layer(index)
        self.layers.append(layer)
        layer.x = self.in_reading_order(x)
        a_ih = self.rnd(layer.x @ _T(layer.W_ih) + layer.b_ih)
        h, c = self.state(self.given.h_0, index), None
        if self.spec.kind == "lstm":
            c = self.state(self.given.c_0, index, self.spec.hidden_size)
        output = []
        for t in range(self.seq_len):
            layer.h.append(h)
            a_hh = self.rnd(h @ _T(layer.W_hh) + layer.b_hh)
            h_t, c_t, saved = self.cell.forward(a_ih[t], a_hh, h, c, self.rnd)
            layer.steps.append(saved)
            if layer.W_hr is not None:
                layer.full.append(h_t)
                h_t = self.rnd(h_t @ _T(layer.W_hr))
            h, c = self.choose(t, h_t, h), self.choose(t, c_t, c)
            output.append(self.choose(t, h_t, 0))
        return np.stack(output), h, c

    # backward: the gradient of a loss whose gradients of output, h_n and c_n are the cotangents

    def backward(self, cotangents: Mapping[str, Array]) -> dict[str, Array]:
        gradients: dict[str, Array] = {}
        dh_0, dc_0 = [], []
        d_output = self.spread_out(self.cotangent(cotangents, "output")[:, None, None])
        for index in reversed(range(self.spec.num_layers)):
            halves = np.split(d_output, self.spec.num_directions, axis=-1)
            d_h = np.concatenate([halves[0], *map(self.flip, halves[1:])], axis=2)
            d_x, dh, dc = self.backward_layer(index, d_h, cotangents, gradients)
            dh_0.append(dh)
            dc_0.append(dc)
            of_directions = self.in_time(d_x)
            d_output = of_directions[0] if len(of_directions) == 1 else self.rnd(np.add(*of_directions))
            if index and self.given.masks is not None:
                d_output = self.rnd(d_output * self.given.masks[index - 1][:, None, None])
        gradients["input.grad"] = np.moveaxis(d_output[:, :, 0], 1, 0)
        gradients["h_0.grad"] = np.concatenate(dh_0[::-1], axis=1)
        d_c_0 = _rows(dc_0[::-1])
        return gradients if d_c_0 is None else gradients | {"c_0.grad": d_c_0}

    def backward_layer(
        self, index: int, d_h: Array, cotangents: Mapping[str, Array], gradients: dict[str, Array]
    ) -> tuple[Array, Array, Array | None]:
        layer, rnd = self.layers[index], self.rnd
        dh, dc = self.state(self.cotangent(cotangents, "h_n"), index), None
        if self.spec.kind == "lstm":
            dc = self.state(self.cotangent(cotangents, "c_n"), index)
        da_ih, da_hh, d_out = [], [], []
        for t in reversed(range(self.seq_len)):
            dh_t = d_projected = rnd(d_h[t] + dh)
            if layer.W_hr is not None:
                dh_t = rnd(d_projected @ layer.W_hr)
            da_x, da_h, d_direct, d_c = self.cell.backward(dh_t, dc, layer.steps[t], rnd)
            da_x, da_h = self.choose(t, da_x, 0), self.choose(t, da_h, 0)
            dh = self.choose(t, rnd(da_h @ layer.W_hh + d_direct), dh)
            dc = self.choose(t, d_c, dc)
            da_ih.append(da_x)
            da_hh.append(da_h)
            d_out.append(self.choose(t, d_projected, 0))
        self.weight_gradients(index, _steps(da_ih), _steps(da_hh), _steps(d_out), gradients)
        return self.within(rnd(_steps(da_ih) @ layer.W_ih)), dh, dc

    def weight_gradients(
        self, index: int, da_ih: Array, da_hh: Array, d_out: Array, gradients: dict[str, Array]
    ) -> None:
        layer = self.layers[index]
        of = {
            "weight_ih": _sum_over_steps(da_ih, layer.x),
            "weight_hh": _sum_over_steps(da_hh, self.within(np.stack(layer.h))),
        }
        if self.spec.bias:
            of["bias_ih"] = da_ih.sum(axis=0).sum(axis=-2, keepdims=True)
            of["bias_hh"] = da_hh.sum(axis=0).sum(axis=-2, keepdims=True)
        if self.spec.proj_size:
            of["weight_hr"] = _sum_over_steps(d_out, self.within(np.stack(layer.full)))
        for direction, suffix in enumerate(self.spec.suffixes(index)):
            for name, gradient in of.items():
                rounded = self.rnd.total(gradient[:, direction : direction + 1], self.seq_len, self.batch)
                gradients[f"{name}_{suffix}.grad"] = rounded[:, 0, 0] if name.startswith("bias") else rounded[:, 0]

    # axes

    def layer(self, index: int) -> _Layer:
        def both_directions(name: str) -> Array:
            found = [self.weights[f"{name}_{suffix}"] for suffix in self.spec.suffixes(index)]
            return self.spread_out(np.stack([w.reshape(-1, w.shape[-1]) for w in found])[None])

        def rounded(name: str) -> Array:
            # An honest product rounds each of its terms: noise on the weights stands for that.
            return self.rnd(both_directions(name).copy())

        b_ih, b_hh = (both_directions(name) if self.spec.bias else 0 for name in ("bias_ih", "bias_hh"))
        W_hr = rounded("weight_hr") if self.spec.proj_size else None
        return _Layer(rounded("weight_ih"), rounded("weight_hh"), b_ih, b_hh, W_hr)

    def spread_out(self, x: Array) -> Array:
        """Repeat (..., 1, directions, rows, features) for every copy."""
        return np.broadcast_to(x, (*x.shape[:-4], self.rnd.copies, *x.shape[-3:]))

    def state(self, x: Array | None, index: int, size: int | None = None) -> Array:
        """Return one layer's part of h_0, c_0 or of a cotangent as (copies, directions, batch, features)."""
        directions = self.spec.num_directions
        if x is None:
            shape = (1, directions, self.batch, size or self.spec.state_size)
            return self.spread_out(np.zeros(shape, self.given.input.dtype))
        return self.spread_out(x[None, index * directions : (index + 1) * directions])

    def cotangent(self, cotangents: Mapping[str, Array], name: str) -> Array:
        if name in cotangents:
            return cotangents[name]
        rows = self.spec.num_layers * self.spec.num_directions
        size = self.spec.hidden_size if name == "c_n" else self.spec.state_size
        if name == "output":
            rows, size = self.seq_len, self.spec.num_directions * size
        return np.zeros((rows, self.batch, size), self.given.input.dtype)

    def choose(self, t: int, within: Any, beyond: Any) -> Any:
        """Keep a step's result where the sequence still runs at step t."""
        if self.active is None or within is None:
            return within
        return np.where(self.active[t], within, beyond)

    def within(self, x: Array) -> Array:
        """Make a sequence zero beyond each one's length: a NaN is not even multiplied with zero there."""
        return x if self.active is None else np.where(self.active[:, None, None], x, 0)

    def flip(self, x: Array) -> Array:
        """Reverse each sequence of (seq_len, copies, directions, batch, features) within its own length."""
        if self.given.lengths is None:
            return x[::-1]
        t, lengths = np.arange(self.seq_len)[:, None], np.asarray(self.given.lengths)
        order = np.where(t < lengths, lengths - 1 - t, t)
        return np.take_along_axis(x, order[:, None, None, :, None], axis=0)

    def in_reading_order(self, x: Array) -> Array:
        """Give each direction the sequence as it reads it."""
        return np.concatenate([x, self.flip(x)], axis=2) if self.spec.bidirectional else x

    def in_time(self, x: Array) -> list[Array]:
        """Take the directions apart, each with its steps in the order of time."""
        return [x[:, :, :1], self.flip(x[:, :, 1:])] if self.spec.bidirectional else [x]


def _T(weight: Array) -> Array:
    return np.swapaxes(weight, -1, -2)


def _steps(backwards: list[Array]) -> Array:
    return np.stack(backwards[::-1])


def _rows(layers: list[Array | None]) -> Array | None:
    """Join c of all layers, None where the cell has none."""
    given = [c for c in layers if c is not None]
    return np.concatenate(given, axis=1) if given else None


def _sum_over_steps(delta: Array, x: Array) -> Array:
    """Sum delta_t x_t^T over steps and batch: (copies, directions, rows, columns)."""
    rows = [np.moveaxis(a, 0, -3).reshape(*a.shape[1:3], -1, a.shape[-1]) for a in (delta, x)]
    return _T(rows[0]) @ rows[1]
