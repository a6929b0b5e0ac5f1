"""Hands a call to the compiled kernels, and its gradients to autograd."""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..call import Call, tracks_gradients
from ..readable import Readable, must_be_readable, readable_gradients

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
GATES = {"tanh": 1, "relu": 1, "GRU": 3, "LSTM": 4}
# What the kernels compute in, by what the tensors are stored in.
COMPUTED_IN = {
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
}
PARALLEL = 500_000  # multiplications of a call: with fewer, waking a second thread costs more than it saves
BYTES = 64


class Plan(NamedTuple):
    """The steps of a batch, and its blocks.

    Args:
        T, B, rows: steps, sequences, and rows of all steps together.
        blocks: how many parts of the batch go through the steps on their own.
        parallel: whether they go in threads.
        at: (T + 1) first row of each step; an array of whole numbers, as `bounds`.
        bounds: (blocks + 1) first sequence of each block.
    """

    T: int
    B: int
    rows: int
    blocks: int
    parallel: bool
    at: Any
    bounds: Any


@lru_cache(maxsize=256)
def padded_plan(T: int, B: int, blocks: int, parallel: bool) -> Plan:
    """Plan a batch whose sequences are all of one length."""
    bounds = np.array([B * block // blocks for block in range(blocks + 1)])
    return Plan(T, B, T * B, blocks, parallel, np.arange(T + 1) * B, bounds)


def packed_plan(batch_sizes: Tensor, blocks: int, parallel: bool) -> Plan:
    """Plan packed sequences: blocks of about as many steps each."""
    sizes = batch_sizes.numpy()
    at = np.concatenate([[0], np.cumsum(sizes)])
    lengths = len(sizes) - np.searchsorted(sizes[::-1], np.arange(sizes[0]), side="right")
    bounds = np.searchsorted(np.cumsum(lengths), at[-1] * np.arange(1, blocks) / blocks)
    return Plan(
        len(sizes), int(sizes[0]), int(at[-1]), blocks, parallel, at, np.concatenate([[0], bounds, [sizes[0]]])
    )


class Compiled:
    """The engine of compiled kernels, for the CPU: see `Engine`."""

    def takes(self, call: Call) -> bool:
        """Whether it can compute this call."""
        return call.data.device.type == "cpu" and call.data.dtype in COMPUTED_IN and call.data.numel() > 0

    def run(self, call: Call) -> Sequence[Tensor]:
        """Return output and final states."""
        weights: list[Any] = [of_direction.get(name) for of_direction in call.weights for name in WEIGHTS]
        if tracks_gradients(call):
            readable = Readable(call.make_layer, call.batch_sizes, len(call.states), WEIGHTS)
            return CompiledRecurrence.apply(call.cell, readable, call.data, *call.states, *weights)
        results, _ = compute(call.cell, call.batch_sizes, call.data, call.states, weights, keep=False)
        return results


class Sizes(NamedTuple):
    """What the shapes of a call say, and how it is planned."""

    plan: Plan
    I: int  # noqa: E741
    H: int
    R: int
    directions: int
    lanes: int
    gates: int
    projected: bool

    @property
    def tasks(self) -> int:
        return self.directions * self.plan.blocks


def sizes_of(cell: str, batch_sizes: Tensor | None, data: Tensor, weights: Sequence[Any], dtype: torch.dtype) -> Sizes:
    gates = GATES[cell]
    H, R = weights[1].size(0) // gates, weights[1].size(1)
    I, directions = data.size(-1), len(weights) // 5
    rows = data.numel() // I
    threads = torch.get_num_threads()
    parallel = threads > 1 and directions * rows * gates * H * (I + R) >= PARALLEL
    B = data.size(1) if batch_sizes is None else int(batch_sizes[0])
    blocks = min(B, -(-threads // directions)) if parallel else 1
    parallel = parallel and directions * blocks > 1
    plan = padded_plan(data.size(0), B, blocks, parallel) if batch_sizes is None else packed_plan(batch_sizes, blocks, parallel)
    return Sizes(plan, I, H, R, directions, BYTES // dtype.itemsize, gates, weights[4] is not None)


def compute(cell: str, batch_sizes: Tensor | None, data: Tensor, states: Sequence[Tensor], weights: Sequence[Any], keep: bool) -> Any:
    from .arguments import ARGUMENTS, CELLS
    from .kernels import kernel
    from .threads import run
    from .walk import ROWS_AT_ONCE

    stored, dtype = data.dtype, COMPUTED_IN[data.dtype]
    data, *states = (t.to(dtype).contiguous() for t in (data, *states))
    weights = [None if w is None else w.detach().to(dtype).contiguous() for w in weights]
    s = sizes_of(cell, batch_sizes, data, weights, dtype)
    plan, L, D = s.plan, s.lanes, s.directions
    units, projected = -(-s.H // L), -(-s.R // L)
    slots = {"LSTM": 5 if keep else 1, "GRU": 4 if keep else 0}.get(cell, 0) + s.projected
    out = data.new_empty(*data.shape[:-1], D * s.R)
    h = torch.empty_like(out) if keep else out
    kept = data.new_empty(D * units * (plan.rows if keep else plan.B) * slots * L)
    finals = [torch.empty_like(state) for state in states]
    panels = D * units * s.gates * (s.I + s.R + 2) * L
    panels_hr = D * projected * units * L * L if s.projected else 0
    room = data.new_empty(panels + panels_hr + s.tasks * ROWS_AT_ONCE * 4 * L)
    size, place = dtype.itemsize, room.data_ptr()
    addresses = (ctypes.c_int64 * 10)(*(0 if w is None else w.data_ptr() for w in weights))
    arguments = ARGUMENTS[str(dtype)[6:]](
        multiply=kernel('multiply', str(dtype)[6:]).address, cell=CELLS[cell], T=plan.T, B=plan.B, I=s.I, H=s.H, R=s.R, directions=D, blocks=plan.blocks, keep=keep,
        projected=s.projected, at=plan.at.ctypes.data, bounds=plan.bounds.ctypes.data, weights=ctypes.addressof(addresses),
        x=data.data_ptr(), h_0=states[0].data_ptr(), c_0=states[-1].data_ptr(), h=h.data_ptr(), out=out.data_ptr(),
        h_n=finals[0].data_ptr(), c_n=finals[-1].data_ptr(), kept=kept.data_ptr(), panels=place,
        panels_hr=place + size * panels, scratch=place + size * (panels + panels_hr),
    )
    pointer = ctypes.addressof(arguments)
    name = str(dtype)[6:]
    run(kernel("pack", name), D * (units + (projected if s.projected else 0)), plan.parallel, pointer)
    run(kernel("forward", name), s.tasks, plan.parallel, pointer)
    results = [t.to(stored) for t in (out, *finals)]
    return results, (s, data, states, weights, h, kept)


class CompiledRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cell: str, readable: Readable, data: Tensor, *tensors: Any) -> tuple[Tensor, ...]:
        n = readable.num_states
        results, (s, x, states, weights, h, kept) = compute(cell, readable.batch_sizes, data, tensors[:n], tensors[n:], keep=True)
        ctx.cell, ctx.readable, ctx.s = cell, readable, s
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(data, *tensors, h, kept)
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, h, kept = ctx.saved_tensors
        needs = ctx.needs_input_grad[2:]
        if must_be_readable(cotangents):
            return None, None, *readable_gradients(ctx.readable, inputs, needs, cotangents)
        return None, None, *gradients(ctx, inputs, h, kept, needs, cotangents)


def gradients(ctx, inputs, h, kept, needs, cotangents):
    from .arguments import ARGUMENTS, CELLS
    from .kernels import kernel
    from .threads import run
    from .walk import ROWS_AT_ONCE
    from .weights import ROWS_SUMMED

    n = ctx.readable.num_states
    s, cell = ctx.s, ctx.cell
    plan, L, D = s.plan, s.lanes, s.directions
    stored, dtype = inputs[0].dtype, h.dtype
    data, *rest = (None if t is None else t.detach().to(dtype).contiguous() for t in inputs)
    states, weights = rest[:n], rest[n:]
    d_out, *d_finals = (None if t is None else t.to(dtype).contiguous() for t in cotangents)
    units, recurrent, inputs_ = -(-s.H // L), -(-s.R // L), -(-s.I // L)
    slots = 4 if cell in ("LSTM", "GRU") else 1
    grads = [torch.empty_like(t) if need and t is not None else None for t, need in zip((data, *states, *weights), needs, strict=True)]
    counts = dict(
        panels=D * recurrent * units * s.gates * L * L,
        panels_ih=D * inputs_ * units * s.gates * L * L if grads[0] is not None else 0,
        panels_hr=D * units * s.R * L if s.projected else 0,
        scratch=s.tasks * ROWS_AT_ONCE * 4 * L,
        D=D * units * plan.rows * slots * L,
        dh=plan.rows * D * s.R if s.projected else 0,
        carried=D * units * plan.B * L,
        summed=s.tasks * (max(recurrent + inputs_, units) + 1) * ROWS_SUMMED * L,
    )
    room = h.new_empty(sum(counts.values()))
    place, places = room.data_ptr(), {}
    for name, count in counts.items():
        places[name] = place
        place += count * dtype.itemsize
    def address(t): return 0 if t is None else t.data_ptr()
    addresses = (ctypes.c_int64 * 10)(*map(address, weights))
    d_addresses = (ctypes.c_int64 * 10)(*map(address, grads[1 + n:]))
    name = str(dtype)[6:]
    arguments = ARGUMENTS[name](
        multiply=kernel('multiply', str(dtype)[6:]).address, cell=CELLS[cell], T=plan.T, B=plan.B, I=s.I, H=s.H, R=s.R, directions=D, blocks=plan.blocks, keep=True,
        projected=s.projected, at=plan.at.ctypes.data, bounds=plan.bounds.ctypes.data, weights=ctypes.addressof(addresses),
        x=data.data_ptr(), h_0=states[0].data_ptr(), c_0=states[-1].data_ptr(), h=h.data_ptr(), kept=kept.data_ptr(),
        d_out=address(d_out), d_h_n=address(d_finals[0]), d_c_n=address(d_finals[-1]) if n == 2 else 0,
        d_x=address(grads[0]), d_h_0=address(grads[1]), d_c_0=address(grads[2]) if n == 2 else 0,
        d_weights=ctypes.addressof(d_addresses), **places,
    )
    pointer = ctypes.addressof(arguments)
    packed = recurrent + (inputs_ if grads[0] is not None else 0) + (units if s.projected else 0)
    run(kernel("pack_backward", name), D * packed, plan.parallel, pointer)
    run(kernel("backward", name), s.tasks, plan.parallel, pointer)
    if grads[0] is not None:
        run(kernel("input_gradients", name), s.tasks, plan.parallel, pointer)
    if any(t is not None for t in grads[1 + n:]):
        run(kernel("weight_gradients", name), s.tasks, plan.parallel, pointer)
    return [None if t is None else t.to(stored) for t in grads]
