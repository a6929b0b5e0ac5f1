"""From tensors to kernels: the sizes of a call, the memory it needs, and its kernels one after the other."""

import ctypes
import threading
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..call import GATES, Call
from . import gru, lstm, rnn
from .arguments import ARGUMENTS, CELLS
from .kernels import kernel, run
from .threads import GIVE_WAY
from .vectors import BYTES
from .walk import ROWS_AT_ONCE
from .weights import ROWS_SUMMED

EQUATIONS = {"tanh": rnn, "relu": rnn, "GRU": gru, "LSTM": lstm}
SHARED = 20_000  # multiplications of a step in each share: with fewer, the counting costs more
PARALLEL = 500_000  # multiplications of a call: with fewer, waking a second thread costs more than it saves
MOST_KEPT = 64 * 2**20  # bytes of a thread's workspace that are kept for its next call


class Walk:
    """Both passes of a layer with input of one size: see `Passes`.

    Args:
        cell: as that of `Call`.
        batch_sizes: how many sequences reach each step, never growing.
        sizes: of the input, the hidden state and what recurs, which is the projection where there is one.
        directions: one or two.
        stored, dtype: of the tensors, and that is computed in.
        projected: whether the LSTM has a projection.
        threads: how many PyTorch has.

    Attributes:
        tasks: parts of the batch, in each direction, that go through all steps on their own, or their shares.
        parallel: whether they go in threads.
    """

    def __init__(
        self,
        cell: str,
        batch_sizes: Any,
        sizes: tuple[int, int, int],
        directions: int,
        stored: torch.dtype,
        dtype: torch.dtype,
        projected: bool,
        threads: int,
    ) -> None:
        I, H, R = sizes
        self.stored, self.dtype, self.name = stored, dtype, str(dtype).removeprefix("torch.")
        T, B = len(batch_sizes), int(batch_sizes[0])
        self.at = np.concatenate([[0], np.cumsum(batch_sizes)])
        rows, L, gates = int(self.at[-1]), BYTES // dtype.itemsize, GATES[cell]
        self.parallel = threads > 1 and directions * rows * gates * H * (I + R) >= PARALLEL
        blocks = min(B, -(-threads // directions)) if self.parallel else 1
        units, recurrent, inputs = (-(-size // L) for size in (H, R, I))
        shares = 1
        if self.parallel:
            work = -(-B // blocks) * gates * H * (I + R)
            shares = max(1, min(threads // (directions * blocks), work // SHARED, units))
        self.tasks = directions * blocks * shares
        self.parallel = self.parallel and self.tasks > 1
        self.bounds = _bounds(batch_sizes, self.at, blocks)
        self.features = directions * R
        kept = EQUATIONS[cell].KEPT
        # Numbers of each array: see `arguments` and `packing`.
        self.kept = directions * units * rows * (kept + projected) * L
        counts, scratch = directions * blocks * (1 + shares) * L, self.tasks * ROWS_AT_ONCE * 4 * L
        self.forward_room = self._offsets(
            {
                "counts": counts,
                "panels": directions * units * gates * (I + R + 2) * L,
                "panels_hr": directions * recurrent * units * L * L * projected,
                "kept": directions * units * B * (min(kept, 1) * (cell == "LSTM") + projected) * L,
                "scratch": scratch,
            }
        )
        self.backward_room = self._offsets(
            {
                "counts": counts,
                "panels": directions * recurrent * units * gates * L * L,
                "panels_ih": directions * inputs * units * gates * L * L,
                "panels_hr": directions * units * R * L * projected,
                "scratch": scratch,
                "D": directions * units * rows * EQUATIONS[cell].GRADIENTS * L,
                "carried": directions * units * B * L,
                "summed": self.tasks * (max(recurrent + inputs, units) + 1) * ROWS_SUMMED * L,
                "dh": rows * directions * R * projected,
            }
        )
        # Tasks of the kernels that fill panels.
        self.packed = directions * (units + recurrent * projected)
        self.packed_back = [directions * (recurrent + inputs * x + units * projected) for x in (0, 1)]
        self.arguments = ARGUMENTS[self.name](
            cell=CELLS[cell],
            T=T,
            B=B,
            I=I,
            H=H,
            R=R,
            directions=directions,
            blocks=blocks,
            shares=shares,
            give_way=GIVE_WAY,
            projected=projected,
            at=self.at.ctypes.data,
            bounds=self.bounds.ctypes.data,
        )

    def forward(self, tensors: Sequence[Any], keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        """See `Passes.forward`; kept are the hidden states and what the kernels keep of a step."""
        tensors = self._prepared(tensors)
        arguments, states, _weights = self._arguments(tensors)
        _held = _place(arguments, self.forward_room)
        data = tensors[0]
        h = kept = out = data.new_empty(*data.shape[:-1], self.features)
        if keep:
            h, kept = torch.empty_like(out), data.new_empty(self.kept)
            arguments.kept = kept.data_ptr()
        finals = [torch.empty_like(state) for state in states]
        arguments.keep = keep
        arguments.out, arguments.h = out.data_ptr(), h.data_ptr()
        arguments.h_n, arguments.c_n = finals[0].data_ptr(), finals[-1].data_ptr()
        run("pack", self.packed, self.parallel, arguments)
        run("forward", self.tasks, self.parallel, arguments)
        return self._stored([out, *finals]), [h, kept] if keep else []

    def backward(
        self,
        tensors: Sequence[Any],
        kept: Sequence[Tensor],
        needs: Sequence[bool],
        cotangents: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """See `Passes.backward`."""
        tensors, cotangents = self._prepared(tensors), self._prepared(cotangents)
        arguments, states, _weights = self._arguments(tensors)
        _held = _place(arguments, self.backward_room)
        found = [torch.empty_like(t) if need else None for t, need in zip(tensors, needs, strict=True)]
        d_x, *d_states = found[: 1 + len(states)]
        d_weights = _addresses(found[1 + len(states) :])
        places = _addresses([*kept, *cotangents[:2], cotangents[-1], d_x, d_states[0], d_states[-1]])
        arguments.keep = True
        arguments.h, arguments.kept, arguments.d_out, arguments.d_h_n, arguments.d_c_n = places[:5]
        arguments.d_x, arguments.d_h_0, arguments.d_c_0 = places[5:]
        arguments.d_weights = ctypes.addressof(d_weights)
        if len(states) == 1:
            arguments.d_c_n = arguments.d_c_0 = 0
        run("pack_backward", self.packed_back[d_x is not None], self.parallel, arguments)
        run("backward", self.tasks, self.parallel, arguments)
        if d_x is not None:
            run("input_gradients", self.tasks, self.parallel, arguments)
        if any(needs[1 + len(states) :]):
            run("weight_gradients", self.tasks, self.parallel, arguments)
        return self._stored(found)

    def _arguments(self, tensors: Sequence[Any]) -> tuple[Any, list[Any], Any]:
        """The arguments that both passes have, the states, and the table of weights, which must outlive the kernels."""
        arguments = type(self.arguments).from_buffer_copy(self.arguments)
        num_states = 2 if arguments.cell == CELLS["LSTM"] else 1
        data, states, weights = tensors[0], tensors[1 : 1 + num_states], _addresses(tensors[1 + num_states :])
        arguments.multiply = kernel("multiply", self.name).address
        arguments.weights = ctypes.addressof(weights)
        arguments.x = data.data_ptr()
        arguments.h_0, arguments.c_0 = states[0].data_ptr(), states[-1].data_ptr()
        return arguments, list(states), weights

    def _prepared(self, tensors: Sequence[Any]) -> list[Any]:
        """Return tensors, None among them, as kernels take them: contiguous, in the dtype that is computed in."""
        dtype = self.dtype
        return [
            t
            if t is None or (t.dtype == dtype and t.is_contiguous() and not t.is_neg())
            else t.resolve_neg().to(dtype).contiguous()
            for t in tensors
        ]

    def _stored(self, tensors: Sequence[Any]) -> list[Any]:
        """Return results, None among them, in the dtype of what was given."""
        return [t if t is None or t.dtype == self.stored else t.to(self.stored) for t in tensors]

    def _offsets(self, numbers: dict[str, int]) -> list[tuple[str, int]]:
        """Where in a workspace each array begins, in bytes, and at last how large that is."""
        ends = accumulate((count * self.dtype.itemsize for count in numbers.values()), initial=0)
        return list(zip([*numbers, "end"], ends, strict=True))


def _bounds(batch_sizes: Any, at: Any, blocks: int) -> Any:
    """The first sequence of each block, and past the last one their number: as many steps in each, about."""
    B = batch_sizes[0]
    if batch_sizes[-1] == B:
        return np.arange(blocks + 1) * B // blocks
    lengths = len(batch_sizes) - np.searchsorted(batch_sizes[::-1], np.arange(B), side="right")
    within = np.searchsorted(np.cumsum(lengths), at[-1] * np.arange(1, blocks) / blocks)
    return np.concatenate([[0], within, [B]])


_thread = threading.local()


def _workspace(size: int) -> Tensor:
    """Return that many bytes of memory, which the thread's next call overwrites.

    It is kept between calls: memory fresh from the system costs as much as a tenth of a training step.
    """
    held: Tensor | None = getattr(_thread, "workspace", None)
    if held is None or held.numel() < size:
        held = torch.empty(size, dtype=torch.uint8)
        if size <= MOST_KEPT:
            _thread.workspace = held
    return held


def _place(arguments: Any, room: list[tuple[str, int]]) -> Tensor:
    """Give each array of a walk its place in the workspace, and return that."""
    workspace = _workspace(room[-1][1])
    begin = workspace.data_ptr()
    for name, offset in room[:-1]:
        setattr(arguments, name, begin + offset)
    ctypes.memset(arguments.counts, 0, room[1][1])
    return workspace


def _addresses(tensors: Sequence[Any]) -> Any:
    return (ctypes.c_int64 * len(tensors))(*[0 if t is None else t.data_ptr() for t in tensors])


@lru_cache(maxsize=128)
def _padded(cell: str, T: int, B: int, *rest: Any) -> Walk:
    return Walk(cell, np.full(T, B), *rest)


def walk_of(call: Call, dtype: torch.dtype) -> Walk:
    """Return the walk of a call, computed in a dtype."""
    data, weights = call.data, call.weights[0]
    sizes = data.size(-1), weights["weight_hh"].size(0) // GATES[call.cell], weights["weight_hh"].size(1)
    rest = sizes, len(call.weights), data.dtype, dtype, "weight_hr" in weights, torch.get_num_threads()
    if call.batch_sizes is None:
        return _padded(call.cell, data.size(0), data.size(1), *rest)
    return Walk(call.cell, call.batch_sizes.numpy(), *rest)
