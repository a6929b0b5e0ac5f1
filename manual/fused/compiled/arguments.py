"""What a kernel is handed: sizes and addresses, and the arrays that they stand for.

Hidden units come in blocks of as many as a vector has lanes, the last of which may be partly empty. What is kept of a
step, its gradients and the panels of weights lie block by block, so that a kernel finds whole vectors. Arrays:

    x       (rows, I)                         input of all steps, step below step: step t begins at row at[t]
    h       (rows, directions * R)            hidden states; `out` alike, for the user, where h is kept for backward
    h_0     (directions * B, R)               as are h_n, and c_0 and c_n with H in place of R
    kept    (directions, units, rows, slots, lanes)          of each unit's step; of B rows where nothing is kept
    D       (directions, units, rows, gradients * lanes)     gradients of the arguments of its gates
    panels  of weights: see `packing`

R is H, or the size of the projection.
"""

import ctypes
from typing import Any

from numba import carray, from_dtype, types
from numpy import dtype

from . import gru, lstm, rnn
from .memory import Array, get, jit
from .vectors import lanes

TANH, RELU, GRU, LSTM = range(4)
CELLS = {"tanh": TANH, "relu": RELU, "GRU": GRU, "LSTM": LSTM}

SIZES = (
    "cell",  # one of `CELLS`
    "T",
    "B",
    "I",
    "H",
    "R",
    "directions",
    "blocks",  # of the batch, each of which goes through all steps on its own
    "shares",  # of a block: parts of its units, for a task each
    "keep",  # whether a backward pass may follow
    "projected",  # whether the LSTM has a projection
    "failed",  # set by a kernel that reached past an array, where that is checked
)
ADDRESSES = (
    "multiply",  # the kernel of `products`
    "give_way",  # the system's function that lets another thread run
    "counts",  # (directions * blocks, 1 + shares, 8) of parts: see `sharing`
    "at",  # (T + 1) first row of each step
    "bounds",  # (blocks + 1) first sequence of each block
    "weights",  # (directions, 5) addresses of weight_ih, weight_hh, bias_ih, bias_hh, weight_hr; 0 where absent
    "x",
    "h_0",
    "c_0",
    "h",
    "out",
    "h_n",
    "c_n",
    "kept",
    "panels",
    "panels_hr",  # of the projection
    "scratch",  # (tasks, ROWS_AT_ONCE, 4, lanes)
    "d_out",
    "d_h_n",
    "d_c_n",
    "d_x",
    "d_h_0",
    "d_c_0",
    "d_weights",
    "D",
    "dh",  # (rows, directions * R) gradients of h, where they are projected
    "carried",  # (directions, units, B, lanes) gradients on their way to the step before
    "panels_ih",
    "summed",  # what the weights' gradients are summed over at once: see `weights`
)


class Arguments32(ctypes.Structure):
    """The arguments of a kernel in float32, as its field `zero` tells it."""

    name = "float32"
    _fields_ = [("zero", ctypes.c_float), *((name, ctypes.c_int64) for name in (*SIZES, *ADDRESSES))]


class Arguments64(ctypes.Structure):
    """The arguments of a kernel in float64."""

    name = "float64"
    _fields_ = [("zero", ctypes.c_double), *((name, ctypes.c_int64) for name in (*SIZES, *ADDRESSES))]


ARGUMENTS = {"float32": Arguments32, "float64": Arguments64}


def signature(name: str) -> Any:
    """The type of a kernel for one dtype: what PyTorch's pool calls with a range of tasks and the arguments."""
    record = from_dtype(dtype(ARGUMENTS[name]))
    return types.void(types.int64, types.int64, types.CPointer(record))


def multiply_signature(name: str) -> Any:
    """The type of `products.multiply` for one dtype, which its first argument tells."""
    return types.void(types.CPointer(getattr(types, name)), *[types.int64] * 19)


@jit
def arguments(pointer):
    """What lies where a kernel's last argument points to."""
    return carray(pointer, 1)[0]


@jit
def steps(call):
    """The first row of each step, and past the last one the number of rows."""
    return Array(call.at, 0, (call.T + 1,))


@jit
def rows_of_all(call):
    """How many rows all steps have together."""
    return get(steps(call), (call.T,))


@jit
def sequences_at(at, t):
    """How many sequences reach a step."""
    return get(at, (t + 1,)) - get(at, (t,))


@jit
def block_bounds(call, block):
    """The first sequence of a block of the batch, and the one past its last."""
    bounds = Array(call.bounds, 0, (call.blocks + 1,))
    return get(bounds, (block,)), get(bounds, (block + 1,))


@jit
def tasks_of(call):
    """How many tasks the walks have."""
    return call.directions * call.blocks * call.shares


@jit
def blocks_of(features, call):
    """How many vectors hold that many numbers."""
    return (features + lanes(call.zero) - 1) // lanes(call.zero)


@jit
def gates_of(call):
    """How many gates a cell has."""
    if call.cell == LSTM:
        return 4
    return 3 if call.cell == GRU else 1


@jit
def slots_of(call):
    """How many vectors are kept of a step: those of the state alone where no backward pass may follow."""
    if call.cell == LSTM:
        return (lstm.KEPT if call.keep else 1) + call.projected
    return gru.KEPT if call.cell == GRU else rnn.KEPT


@jit
def gradients_of(call):
    """How many vectors of gradients a step has."""
    if call.cell == LSTM:
        return lstm.GRADIENTS
    return gru.GRADIENTS if call.cell == GRU else rnn.GRADIENTS
