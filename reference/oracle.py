"""The oracle: the cells of `equations` over time, in both directions and stacked, forward and backward.

Any precision, no torch. Rounding belongs to the numbers (`rounding`), the axes are drawn in `axes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from jaxtyping import Shaped

from . import equations, gradients
from .axes import Axes
from .rounding import Array, Exact, Numbers, Rounding, concatenate, linear, stack
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
    axes = Axes(inputs.input.shape[0], spec.num_directions, inputs.lengths, rounding or Exact())
    run = _Run(spec, weights, _given(spec, inputs), inputs.masks, axes)
    with np.errstate(all="ignore"):  # overflow is part of some inputs, and judged by whoever asked
        results, layers = _forward(run)
        if inputs.cotangents is not None:
            results |= _backward(run, layers)
    return results if rounding is not None else {name: runs[0] for name, runs in results.items()}


CELLS: dict[tuple[str, str], tuple[Any, Any]] = {
    ("rnn", "tanh"): (equations.rnn_tanh, gradients.rnn_tanh),
    ("rnn", "relu"): (equations.rnn_relu, gradients.rnn_relu),
    ("gru", "tanh"): (equations.gru, gradients.gru),
    ("gru", "reset before"): (equations.gru_reset_before, gradients.gru_reset_before),
    ("lstm", "tanh"): (equations.lstm, gradients.lstm),
}


@dataclass(frozen=True)
class _Run:
    """What is run, and on what: input, states and cotangents by name."""

    spec: LayerSpec
    weights: Mapping[str, Array]
    given: Mapping[str, Array]
    masks: Sequence[Array] | None
    axes: Axes

    @property
    def cell(self) -> tuple[Any, Any]:
        """The equations of a step, and their gradients."""
        of = "reset before" if "reset before" in self.spec.dialect else self.spec.nonlinearity
        return CELLS[self.spec.kind, of]

    def state(self, name: str, layer: int) -> Any:
        """Return a layer's part of h_0, c_0 or of a cotangent, None where there is no c."""
        return self.axes.state(self.given[name], layer) if name in self.given else None

    def parameter(self, name: str, layer: int) -> Numbers:
        return self.axes.parameter([self.weights[f"{name}_{suffix}"] for suffix in self.spec.suffixes(layer)])

    def dropped(self, x: Numbers, layer: int) -> Numbers:
        """Apply the dropout before a layer, to its input or to the gradient of it."""
        return x if self.masks is None or layer == 0 else x * self.axes.sequence(self.masks[layer - 1])


@dataclass
class _Layer:
    """One layer's parameters, the sequence it reads, and what each step leaves for the backward pass."""

    x: Numbers
    W_ih: Numbers
    recurrent: equations.Recurrent
    W_hr: Numbers | None
    b_ih: Numbers | None
    h_prev: list[Numbers] = field(default_factory=list)
    h_full: list[Numbers] = field(default_factory=list)  # h_t before the projection
    saved: list[Any] = field(default_factory=list)


def _given(spec: LayerSpec, inputs: Inputs) -> dict[str, Array]:
    """Return input, states and cotangents by name, zeros for those that are absent."""
    seq_len, batch, _ = inputs.input.shape
    rows = spec.num_layers * spec.num_directions
    h = (rows, batch, spec.state_size)
    shapes = {"h_0": h, "h_n": h, "output": (seq_len, batch, spec.num_directions * spec.state_size)}
    if spec.kind == "lstm":
        shapes["c_0"] = shapes["c_n"] = (rows, batch, spec.hidden_size)
    given = {"input": inputs.input, "h_0": inputs.h_0, "c_0": inputs.c_0, **(inputs.cotangents or {})}
    found = {name: x for name, x in given.items() if x is not None}
    return {name: np.zeros(shape, inputs.input.dtype) for name, shape in shapes.items() if name not in found} | found


# Forward


def _forward(run: _Run) -> tuple[dict[str, Array], list[_Layer]]:
    """Return output, h_n and c_n, and the layers for the backward pass."""
    layers, h_n, c_n = [], [], []
    x = run.axes.sequence(run.given["input"])
    for index in range(run.spec.num_layers):
        layer = _layer(run, index, run.axes.as_read(run.dropped(x, index)))
        output, h, c = _forward_layer(run, layer, run.state("h_0", index), run.state("c_0", index))
        x = concatenate(run.axes.in_time(output))
        layers.append(layer)
        h_n.append(h)
        c_n.append(c)
    results = {"output": run.axes.of_sequence(x), "h_n": run.axes.of_states(h_n)}
    if run.spec.kind == "lstm":
        results["c_n"] = run.axes.of_states(c_n)
    return results, layers


def _layer(run: _Run, index: int, x: Numbers) -> _Layer:
    # An honest product rounds each of its terms: rounding the weights stands for that.
    W_hr = run.parameter("weight_hr", index).rounded() if run.spec.proj_size else None
    W_ih, W_hh = run.parameter("weight_ih", index).rounded(), run.parameter("weight_hh", index).rounded()
    b_ih, b_hh = _biases(run, index)
    return _Layer(x, W_ih, equations.Recurrent(W_hh, b_hh), W_hr, b_ih)


def _biases(run: _Run, index: int) -> tuple[Numbers | None, Numbers | None]:
    """Return what is added to W_ih x_t and to W_hh h_prev."""
    dialect, b_ih, b_hh = run.spec.dialect, None, None
    if run.spec.bias:
        b_ih, b_hh = (run.parameter(name, index) for name in ("bias_ih", "bias_hh"))
        if "one bias" in dialect:
            b_ih, b_hh = b_ih + b_hh, None
    if "forget bias + 1" in dialect:
        forget = np.repeat(np.array([0, 1, 0, 0], run.given["input"].dtype), run.spec.hidden_size)
        one = run.axes.parameter([forget] * run.spec.num_directions)
        b_ih = one if b_ih is None else b_ih + one
    return b_ih, b_hh


def _forward_layer(run: _Run, layer: _Layer, h: Numbers, c: Numbers | None) -> tuple[Numbers, Numbers, Any]:
    """Return the sequence of h_t as it was read, then h and c after each sequence's last step."""
    (cell, _), axes = run.cell, run.axes
    a_ih = linear(layer.x, layer.W_ih, layer.b_ih)
    output = []
    for t in range(axes.seq_len):
        h_t, c_t, saved = cell(a_ih[t], layer.recurrent, h, c)
        layer.h_prev.append(h)
        layer.h_full.append(h_t)
        layer.saved.append(saved)
        if layer.W_hr is not None:
            h_t = h_t @ layer.W_hr.T
        h, c = axes.until_end(t, h_t, h), axes.until_end(t, c_t, c)
        output.append(axes.until_end(t, h_t))
    return stack(output), h, c


# Backward: the gradient of a loss whose gradients of output, h_n and c_n are the cotangents


def _backward(run: _Run, layers: Sequence[_Layer]) -> dict[str, Array]:
    """Return the gradient of every parameter, of input, h_0 and c_0."""
    found: dict[str, Array] = {}
    dh_0: list[Numbers] = []
    dc_0: list[Numbers] = []
    d_output = run.axes.sequence(run.given["output"])
    for index in reversed(range(run.spec.num_layers)):
        d_output = run.axes.sides_as_read(d_output)
        dh_n, dc_n = run.state("h_n", index), run.state("c_n", index)
        da_ih, da_hh, d_h, dh, dc = _backward_steps(run, layers[index], d_output, dh_n, dc_n)
        found |= _parameter_gradients(run, index, layers[index], da_ih, da_hh, d_h)
        dx = run.axes.within(da_ih @ layers[index].W_ih)
        d_output = run.dropped(reduce(add, run.axes.in_time(dx)), index)
        dh_0.insert(0, dh)
        dc_0.insert(0, dc)
    found |= {"input.grad": run.axes.of_sequence(d_output), "h_0.grad": run.axes.of_states(dh_0)}
    if run.spec.kind == "lstm":
        found["c_0.grad"] = run.axes.of_states(dc_0)
    return found


def _backward_steps(
    run: _Run, layer: _Layer, d_output: Numbers, dh: Numbers, dc: Numbers | None
) -> tuple[Numbers, Numbers, Numbers, Numbers, Any]:
    """Return the gradients of a_ih, a_hh and h_t as sequences, then those of h_0 and c_0."""
    (_, gradient), axes = run.cell, run.axes
    steps = []
    for t in reversed(range(axes.seq_len)):
        dh_t = dh_full = d_output[t] + dh
        if layer.W_hr is not None:
            dh_full = dh_t @ layer.W_hr
        da_ih, da_hh, dh_prev, dc_prev = gradient(dh_full, dc, layer.saved[t])
        da_ih, da_hh = axes.until_end(t, da_ih), axes.until_end(t, da_hh)
        dh = axes.until_end(t, layer.recurrent.back(da_hh, dh_prev), dh)
        dc = axes.until_end(t, dc_prev, dc)
        steps.append((da_ih, da_hh, axes.until_end(t, dh_t)))
    da_ih, da_hh, d_h = map(stack, zip(*reversed(steps), strict=True))
    return da_ih, da_hh, d_h, dh, dc


def _parameter_gradients(
    run: _Run, index: int, layer: _Layer, da_ih: Numbers, da_hh: Numbers, d_h: Numbers
) -> dict[str, Array]:
    axes = run.axes
    sums = {
        "weight_ih": _sum_of_products(da_ih, layer.x),
        "weight_hh": _sum_of_products(da_hh, axes.within(stack(layer.h_prev))),
    }
    if "reset before" in run.spec.dialect:  # what W_hn multiplies is r * h_prev
        reset = stack([r * h_prev for h_prev, (r, *_) in zip(layer.h_prev, layer.saved, strict=True)])
        n = slice(2 * run.spec.hidden_size, None)
        sums["weight_hh"][..., n, :] = _sum_of_products(da_ih[..., n], axes.within(reset))
        da_hh = da_ih
    if "one bias" in run.spec.dialect:
        da_hh = da_ih
    if run.spec.bias:
        sums |= {"bias_ih": _sum(da_ih), "bias_hh": _sum(da_hh)}
    if run.spec.proj_size:
        sums["weight_hr"] = _sum_of_products(d_h, axes.within(stack(layer.h_full)))
    found = {}
    for direction, suffix in enumerate(run.spec.suffixes(index)):
        for name, of_directions in sums.items():
            total = axes.rounding.total(of_directions[:, direction : direction + 1], axes.seq_len, d_h.shape[-2])
            found[f"{name}_{suffix}.grad"] = total[:, 0, 0] if name.startswith("bias") else total[:, 0]
    return found


def _sum_of_products(da: Numbers, x: Numbers) -> Array:
    """Sum da_t x_t^T over steps and batch, not rounded yet: (copies, directions, rows, columns)."""
    a, b = (s.array.transpose(1, 2, 0, 3, 4).reshape(*s.shape[1:3], -1, s.shape[-1]) for s in (da, x))
    return np.swapaxes(a, -1, -2) @ b


def _sum(da: Numbers) -> Array:
    """Sum da_t over steps and batch, not rounded yet: (copies, directions, 1, rows)."""
    return da.array.sum(axis=0).sum(axis=-2, keepdims=True)  # type: ignore[no-any-return]
