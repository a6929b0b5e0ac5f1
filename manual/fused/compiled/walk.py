"""The walk of a block of the batch through all steps, forward and backward.

Each block goes on its own: no thread waits for another. At a step it takes its sequences some rows at a time, and of
those one block of units after the other, whose gates' products and equations follow on each other in the cache.

The second direction walks from the last step to the first. Packed sequences come longest first, so that those of a step
are the first ones of the batch; forward in time they end one by one, backward they begin so.
"""

from typing import Any, NamedTuple

from . import gru, lstm, rnn
from .arguments import (
    GRU,
    LSTM,
    RELU,
    arguments,
    blocks_of,
    gates_of,
    gradients_of,
    slots_of,
    block_bounds,
    rows_of_all,
    sequences_at,
    steps,
)
from .memory import Array, address, get, itemsize, jit, load, load_part, put, store, store_part, zeros
from .products import NONE, Rows, product
from .vectors import BYTES, first, lanes

ROWS_AT_ONCE = 48


class Arrays(NamedTuple):
    """What lies in memory, as `arguments` and `packing` describe it; some are there in one of the walks alone."""

    x: Any
    h: Any
    out: Any
    h_0: Any
    c_0: Any
    kept: Any
    panels: Any
    panels_hr: Any
    scratch: Any


class Gradients(NamedTuple):
    """What the walk back has beside these."""

    d_out: Any
    d_h_n: Any
    D: Any
    dh: Any
    carried: Any


class Some(NamedTuple):
    """Some sequences of a step that a kernel computes at once, in one direction.

    Args:
        d: the direction.
        b: the first sequence.
        n: how many.
        row: the row of the first one.
        earlier: its row at the step before in this direction, or -1 where it has none: the state is the initial one.
        task: whose room for products is theirs.
    """

    d: int
    b: int
    n: int
    row: int
    earlier: int
    task: int


@jit
def count_from(b, end, border):
    """How many sequences to take at once from b on: all alike beyond a border or all not, in parts of about one size."""
    count = (border if b < border < end else end) - b
    parts = (count + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
    return (count + parts - 1) // parts


@jit
def rows_of(matrix, row, n, column, K):
    """N rows of a matrix, K numbers each from a column on."""
    size = itemsize(matrix)
    place = address(matrix, (row, column), (row + n - 1, column + K - 1))
    return Rows(place, matrix.shape[1] * size, size, K, 1, 0)


@jit
def rows_in_blocks(blocks, count, block, row, n, slot, slots):
    """N rows of some slots, in a count of blocks from one on: block by block they meet a panel each."""
    _, rows, all_slots, L = blocks.shape
    last = block + count - 1, row + n - 1, slot + slots - 1, L - 1
    place = address(blocks, (block, row, slot, 0), last)
    return Rows(place, all_slots * BYTES, itemsize(blocks), slots * L, count, rows * all_slots * BYTES)


@jit
def panel_at(panels, index, row, K):
    """The address of the panel at an index, from a row of it on, of K rows at least."""
    L = lanes(panels.like)
    return address(panels, (*index, row, 0), (*index, row + K - 1, L - 1))


@jit
def room(scratch, some, gate):
    """Where the products of a gate go."""
    L = lanes(scratch.like)
    return address(scratch, (some.task, 0, gate, 0), (some.task, some.n - 1, gate, L - 1))


@jit
def forward(first_task, last_task, pointer):
    """Compute all steps for some blocks of the batch, numbered direction by direction."""
    call = arguments(pointer)
    for task in range(first_task, last_task):
        forward_block(call, task // call.blocks, task % call.blocks, task)


@jit
def forward_block(call, d, block, task):
    """Compute all steps of one block in one direction."""
    T, B, I, H, R, L = call.T, call.B, call.I, call.H, call.R, lanes(call.zero)
    at, rows = steps(call), rows_of_all(call)
    start, stop = block_bounds(call, block)
    units, projected, D = blocks_of(H, call), blocks_of(R, call), call.directions
    kept_rows = rows if call.keep else B
    arrays = Arrays(
        x=Array(call.x, call.zero, (rows, I)),
        h=Array(call.h, call.zero, (rows, D * R)),
        out=Array(call.out, call.zero, (rows, D * R)),
        h_0=Array(call.h_0, call.zero, (D * B, R)),
        c_0=Array(call.c_0, call.zero, (D * B, H)),
        kept=Array(call.kept, call.zero, (D * units, kept_rows, slots_of(call), L)),
        panels=Array(call.panels, call.zero, (D * units, gates_of(call), I + R + 2, L)),
        panels_hr=Array(call.panels_hr, call.zero, (D * projected, units * L, L)),
        scratch=Array(call.scratch, call.zero, (D * call.blocks, ROWS_AT_ONCE, 4, L)),
    )
    for i in range(T):
        t = T - 1 - i if d else i
        before = t + 1 if d else t - 1
        begun = sequences_at(at, before) if i else 0  # sequences that have a step before this one
        end = min(stop, sequences_at(at, t))
        for u in range(0, units, 4 if gates_of(call) == 1 else 1):
            b = start
            while b < end:
                n = count_from(b, end, begun)
                some = Some(d, b, n, get(at, (t,)) + b, get(at, (before,)) + b if b < begun else -1, task)
                forward_products(call, arrays, some, u)
                if call.cell == LSTM:
                    lstm_forward(call, arrays, some, u)
                elif call.cell == GRU:
                    gru_forward(call, arrays, some, u)
                else:
                    rnn_forward(call, arrays, some, u)
                b += n
        if call.projected:
            for p in range(projected):
                b = start
                while b < end:
                    n = count_from(b, end, end)
                    project(call, arrays, Some(d, b, n, get(at, (t,)) + b, -1, task), p)
                    b += n
    final_states(call, arrays, d, block)


@jit
def forward_products(call, arrays, some, u):
    """W_ih x_t + W_hh h_{t-1} + the biases, for all gates of a block; for the GRU's n the two apart.

    The RNN has one gate: here are four blocks instead.
    """
    I, R, L = call.I, call.R, lanes(call.zero)
    panel = some.d * blocks_of(call.H, call) + u
    x = rows_of(arrays.x, some.row, some.n, 0, I)
    if some.earlier >= 0:
        h = rows_of(arrays.h, some.earlier, some.n, some.d * R, R)
    else:
        h = rows_of(arrays.h_0, some.d * call.B + some.b, some.n, 0, R)
    beside = (I + R + 2) * BYTES
    start = panel_at(arrays.panels, (panel, 0), I + R, 1)
    W_ih, W_hh = panel_at(arrays.panels, (panel, 0), 0, I), panel_at(arrays.panels, (panel, 0), I, R)
    out = room(arrays.scratch, some, 0)
    if call.cell == LSTM:
        product(call, some.n, start, x, W_ih, h, W_hh, out, 4, beside)
    elif call.cell == GRU:
        product(call, some.n, start, x, W_ih, h, W_hh, out, 2, beside)
        start, W_ih, W_hh = start + 2 * beside, W_ih + 2 * beside, W_hh + 2 * beside
        product(call, some.n, start, x, W_ih, NONE, 0, out + 2 * BYTES, 1, 0)
        product(call, some.n, start + BYTES, NONE, 0, h, W_hh, out + 3 * BYTES, 1, 0)
    else:
        wide = min(4, blocks_of(call.H, call) - u)
        product(call, some.n, start, x, W_ih, h, W_hh, out, wide, beside)


@jit
def store_h(call, arrays, some, r, u, h):
    """Put a block of the hidden state of a row where the next step and the user find it."""
    L = lanes(call.zero)
    index, n = (some.row + r, some.d * call.R + L * u), call.R - L * u
    store_part(arrays.h, index, h, n)
    if call.keep:
        store_part(arrays.out, index, h, n)


@jit
def lstm_forward(call, arrays, some, u):
    """The LSTM's equations for a block of units."""
    H, L = call.H, lanes(call.zero)
    block = some.d * blocks_of(H, call) + u
    kept, scratch, task = arrays.kept, arrays.scratch, some.task
    row, earlier = (some.row, some.earlier) if call.keep else (some.b, some.b)
    for r in range(some.n):
        if some.earlier >= 0:
            c_prev = load(kept, (block, earlier + r, lstm.C))
        else:
            c_prev = load_part(arrays.c_0, (some.d * call.B + some.b + r, L * u), H - L * u)
        i, f, g, o, c, h = lstm.forward(
            load(scratch, (task, r, 0)),
            load(scratch, (task, r, 1)),
            load(scratch, (task, r, 2)),
            load(scratch, (task, r, 3)),
            c_prev,
        )
        store(kept, (block, row + r, lstm.C), c)
        if call.keep:
            store(kept, (block, row + r, lstm.I), i)
            store(kept, (block, row + r, lstm.F), f)
            store(kept, (block, row + r, lstm.G), g)
            store(kept, (block, row + r, lstm.O), o)
        if call.projected:
            store(kept, (block, row + r, slots_of(call) - 1), first(h, H - L * u))
        else:
            store_h(call, arrays, some, r, u, h)


@jit
def project(call, arrays, some, p):
    """h_t = W_hr q for a block of projected features."""
    units, L = blocks_of(call.H, call), lanes(call.zero)
    row = some.row if call.keep else some.b
    q = rows_in_blocks(arrays.kept, units, some.d * units, row, some.n, slots_of(call) - 1, 1)
    panel = panel_at(arrays.panels_hr, (some.d * blocks_of(call.R, call) + p,), 0, units * L)
    product(call, some.n, 0, q, panel, NONE, 0, room(arrays.scratch, some, 0), 1, 0)
    for r in range(some.n):
        store_h(call, arrays, some, r, p, load(arrays.scratch, (some.task, r, 0)))


@jit
def h_before(call, arrays, some, r, u):
    """A block of the hidden state of a row at the step before."""
    L = lanes(call.zero)
    n = call.R - L * u
    if some.earlier >= 0:
        return load_part(arrays.h, (some.earlier + r, some.d * call.R + L * u), n)
    return load_part(arrays.h_0, (some.d * call.B + some.b + r, L * u), n)


@jit
def gru_forward(call, arrays, some, u):
    """The GRU's equations for a block of units."""
    block = some.d * blocks_of(call.H, call) + u
    kept, scratch, task = arrays.kept, arrays.scratch, some.task
    for r in range(some.n):
        m = load(scratch, (task, r, 3))
        R, Z, N, h = gru.forward(
            load(scratch, (task, r, 0)),
            load(scratch, (task, r, 1)),
            load(scratch, (task, r, 2)),
            m,
            h_before(call, arrays, some, r, u),
        )
        if call.keep:
            store(kept, (block, some.row + r, gru.R), R)
            store(kept, (block, some.row + r, gru.Z), Z)
            store(kept, (block, some.row + r, gru.N), N)
            store(kept, (block, some.row + r, gru.M), m)
        store_h(call, arrays, some, r, u, h)


@jit
def rnn_forward(call, arrays, some, u):
    """The RNN's equation for up to four blocks of units."""
    for i in range(min(4, blocks_of(call.H, call) - u)):
        for r in range(some.n):
            h = rnn.forward(load(arrays.scratch, (some.task, r, i)), call.cell == RELU)
            store_h(call, arrays, some, r, u + i, h)


@jit
def final_states(call, arrays, d, block):
    """Copy the state after the last step of each sequence."""
    T, B, H, R, L = call.T, call.B, call.H, call.R, lanes(call.zero)
    at, rows = steps(call), rows_of_all(call)
    start, stop = block_bounds(call, block)
    h_n = Array(call.h_n, call.zero, (call.directions * B, R))
    c_n = Array(call.c_n, call.zero, (call.directions * B, H))
    units = blocks_of(H, call)
    t = 0 if d else T - 1
    for b in range(start, stop):
        while sequences_at(at, t) <= b:
            t -= 1
        for k in range(R):
            put(h_n, (d * B + b, k), get(arrays.h, (get(at, (t,)) + b, d * R + k)))
        if call.cell == LSTM:
            row = get(at, (t,)) + b if call.keep else b
            for u in range(units):
                store_part(c_n, (d * B + b, L * u), load(arrays.kept, (d * units + u, row, lstm.C)), H - L * u)


@jit
def backward(first_task, last_task, pointer):
    """Carry the gradients from the last step to the first, for some blocks, numbered direction by direction."""
    call = arguments(pointer)
    for task in range(first_task, last_task):
        backward_block(call, task // call.blocks, task % call.blocks, task)


@jit
def backward_block(call, d, block, task):
    """Carry the gradients of one block in one direction."""
    T, B, H, R, L, D = call.T, call.B, call.H, call.R, lanes(call.zero), call.directions
    at, rows = steps(call), rows_of_all(call)
    start, stop = block_bounds(call, block)
    units, recurrent, gates = blocks_of(H, call), blocks_of(R, call), gates_of(call)
    h = Array(call.h, call.zero, (rows, D * R))
    scratch = Array(call.scratch, call.zero, (D * call.blocks, ROWS_AT_ONCE, 4, L))
    arrays = Arrays(
        x=h,
        h=h,
        out=h,
        h_0=Array(call.h_0, call.zero, (D * B, R)),
        c_0=Array(call.c_0, call.zero, (D * B, H)),
        kept=Array(call.kept, call.zero, (D * units, rows, slots_of(call), L)),
        panels=Array(call.panels, call.zero, (D * recurrent, 1, units * gates * L, L)),
        panels_hr=Array(call.panels_hr, call.zero, (D * units, R, L)),
        scratch=scratch,
    )
    gradients = Gradients(
        d_out=Array(call.d_out, call.zero, (rows, D * R)),
        d_h_n=Array(call.d_h_n, call.zero, (D * B, R)),
        D=Array(call.D, call.zero, (D * units, rows, gradients_of(call), L)),
        dh=Array(call.dh, call.zero, (rows, D * R)),
        carried=Array(call.carried, call.zero, (D * units, B, L)),
    )
    start_carrying(call, gradients, d, start, stop)
    for i in range(T - 1, -1, -1):
        t = T - 1 - i if d else i
        before, after = (t + 1, t - 1) if d else (t - 1, t + 1)
        begun = sequences_at(at, before) if i else 0  # sequences that have a step before this one
        going = sequences_at(at, after) if i < T - 1 else 0  # and that have one after it
        border = begun if d else going
        end = min(stop, sequences_at(at, t))
        if call.projected:
            for p in range(0, recurrent, 4):
                b = start
                while b < end:
                    n = count_from(b, end, border)
                    some = Some(d, b, n, get(at, (t,)) + b, -1, task)
                    later = get(at, (after,)) + b if b < going else -1
                    gradients_of_projected(call, arrays, gradients, some, later, p, min(4, recurrent - p))
                    b += n
        for u in range(0, units, 4):
            wide = min(4, units - u)
            b = start
            while b < end:
                n = count_from(b, end, border)
                some = Some(d, b, n, get(at, (t,)) + b, get(at, (before,)) + b if b < begun else -1, task)
                if call.projected:
                    gradients_before_projection(call, arrays, gradients, some, u, wide)
                else:
                    later = get(at, (after,)) + b if b < going else -1
                    gradients_from_after(call, arrays, gradients, some, later, u, wide)
                for i_u in range(wide):
                    if call.cell == LSTM:
                        lstm_backward(call, arrays, gradients, some, u + i_u, i_u)
                    elif call.cell == GRU:
                        gru_backward(call, arrays, gradients, some, u + i_u, i_u)
                    else:
                        rnn_backward(call, arrays, gradients, some, u + i_u, i_u)
                b += n
        b = max(start, begun)
        while b < end:  # those that begin at this step
            n = count_from(b, end, end)
            gradients_of_initial(call, arrays, gradients, Some(d, b, n, get(at, (t,)) + b, -1, task))
            b += n


@jit
def start_carrying(call, gradients, d, start, end):
    """Begin what is carried with the gradient of the LSTM's final c, or with zero."""
    H, B, L = call.H, call.B, lanes(call.zero)
    units = blocks_of(H, call)
    d_c_n = Array(call.d_c_n, call.zero, (call.directions * B, H))
    for u in range(units):
        for b in range(start, end):
            x = zeros(call.zero)
            if call.cell == LSTM and call.d_c_n:
                x = load_part(d_c_n, (d * B + b, L * u), H - L * u)
            store(gradients.carried, (d * units + u, b), x)


@jit
def recurrent_product(call, arrays, gradients, some, row, q, wide):
    """W_hh^T D for the rows from one on and some blocks of features, into scratch."""
    units, gates, L = blocks_of(call.H, call), gates_of(call), lanes(call.zero)
    D = rows_in_blocks(gradients.D, units, some.d * units, row, some.n, 0, gates)
    panel = panel_at(arrays.panels, (some.d * blocks_of(call.R, call) + q, 0), 0, units * gates * L)
    beside = units * gates * L * BYTES
    product(call, some.n, 0, D, panel, NONE, 0, room(arrays.scratch, some, 0), wide, beside)


@jit
def gradients_from_after(call, arrays, gradients, some, later, q, wide):
    """dL/dh_t of some blocks of features, into scratch: from the step after and the output, or the final state."""
    R, L = call.R, lanes(call.zero)
    if later >= 0:
        recurrent_product(call, arrays, gradients, some, later, q, wide)
    for i in range(wide):
        column = L * (q + i)
        for r in range(some.n):
            x = zeros(call.zero)
            if later >= 0:
                x = load(arrays.scratch, (some.task, r, i))
            elif call.d_h_n:
                x = load_part(gradients.d_h_n, (some.d * call.B + some.b + r, column), R - column)
            if call.d_out:
                x = x + load_part(gradients.d_out, (some.row + r, some.d * R + column), R - column)
            store(arrays.scratch, (some.task, r, i), x)


@jit
def gradients_of_projected(call, arrays, gradients, some, later, p, wide):
    """dL/dh_t of some blocks of projected features, which W_hr's own gradient needs, too."""
    R, L = call.R, lanes(call.zero)
    gradients_from_after(call, arrays, gradients, some, later, p, wide)
    for i in range(wide):
        column = L * (p + i)
        for r in range(some.n):
            x = load(arrays.scratch, (some.task, r, i))
            store_part(gradients.dh, (some.row + r, some.d * R + column), x, R - column)


@jit
def gradients_before_projection(call, arrays, gradients, some, u, wide):
    """W_hr^T dL/dh_t for some blocks of units, into scratch."""
    R = call.R
    dh = rows_of(gradients.dh, some.row, some.n, some.d * R, R)
    panel = panel_at(arrays.panels_hr, (some.d * blocks_of(call.H, call) + u,), 0, R)
    product(call, some.n, 0, dh, panel, NONE, 0, room(arrays.scratch, some, 0), wide, R * BYTES)


@jit
def store_D(call, gradients, block, row, slot, x, n):
    """Put a gate's gradients, zero for the units that are not there, whatever was computed for them."""
    store(gradients.D, (block, row, slot), first(x, n))


@jit
def lstm_backward(call, arrays, gradients, some, u, i):
    """The LSTM's gradients for a block of units."""
    H, L = call.H, lanes(call.zero)
    block, n = some.d * blocks_of(H, call) + u, H - L * u
    kept, carried = arrays.kept, gradients.carried
    for r in range(some.n):
        row = some.row + r
        if some.earlier >= 0:
            c_prev = load(kept, (block, some.earlier + r, lstm.C))
        else:
            c_prev = load_part(arrays.c_0, (some.d * call.B + some.b + r, L * u), n)
        da_i, da_f, da_g, da_o, dc_prev = lstm.backward(
            load(kept, (block, row, lstm.I)),
            load(kept, (block, row, lstm.F)),
            load(kept, (block, row, lstm.G)),
            load(kept, (block, row, lstm.O)),
            load(kept, (block, row, lstm.C)),
            c_prev,
            load(arrays.scratch, (some.task, r, i)),
            load(carried, (block, some.b + r)),
        )
        store(carried, (block, some.b + r), dc_prev)
        store_D(call, gradients, block, row, 0, da_i, n)
        store_D(call, gradients, block, row, 1, da_f, n)
        store_D(call, gradients, block, row, 2, da_g, n)
        store_D(call, gradients, block, row, 3, da_o, n)


@jit
def gru_backward(call, arrays, gradients, some, u, i):
    """The GRU's gradients for a block of units."""
    H, L = call.H, lanes(call.zero)
    block, n = some.d * blocks_of(H, call) + u, H - L * u
    kept, carried = arrays.kept, gradients.carried
    for r in range(some.n):
        row = some.row + r
        dm, da_r, da_z, da_n, dh_z = gru.backward(
            load(kept, (block, row, gru.R)),
            load(kept, (block, row, gru.Z)),
            load(kept, (block, row, gru.N)),
            load(kept, (block, row, gru.M)),
            h_before(call, arrays, some, r, u),
            load(arrays.scratch, (some.task, r, i)) + load(carried, (block, some.b + r)),
        )
        store(carried, (block, some.b + r), dh_z)
        store_D(call, gradients, block, row, 0, dm, n)
        store_D(call, gradients, block, row, 1, da_r, n)
        store_D(call, gradients, block, row, 2, da_z, n)
        store_D(call, gradients, block, row, 3, da_n, n)


@jit
def rnn_backward(call, arrays, gradients, some, u, i):
    """The RNN's gradients for a block of units."""
    H, L = call.H, lanes(call.zero)
    block, n = some.d * blocks_of(H, call) + u, H - L * u
    for r in range(some.n):
        row = some.row + r
        h = load_part(arrays.h, (row, some.d * H + L * u), n)
        da = rnn.backward(h, load(arrays.scratch, (some.task, r, i)), call.cell == RELU)
        store_D(call, gradients, block, row, 0, da, n)


@jit
def gradients_of_initial(call, arrays, gradients, some):
    """The gradients of the initial state, of sequences whose first step was the last to be computed."""
    d, B, H, R, L = some.d, call.B, call.H, call.R, lanes(call.zero)
    units = blocks_of(H, call)
    if call.d_h_0:
        d_h_0 = Array(call.d_h_0, call.zero, (call.directions * B, R))
        for q in range(blocks_of(R, call)):
            recurrent_product(call, arrays, gradients, some, some.row, q, 1)
            for r in range(some.n):
                x = load(arrays.scratch, (some.task, r, 0))
                if call.cell == GRU:
                    x = x + load(gradients.carried, (d * units + q, some.b + r))
                store_part(d_h_0, (d * B + some.b + r, L * q), x, R - L * q)
    if call.d_c_0:
        d_c_0 = Array(call.d_c_0, call.zero, (call.directions * B, H))
        for u in range(units):
            for r in range(some.n):
                x = load(gradients.carried, (d * units + u, some.b + r))
                store_part(d_c_0, (d * B + some.b + r, L * u), x, H - L * u)


@jit
def input_gradients(first_task, last_task, pointer):
    """dL/dx = W_ih^T D of both directions, for some parts of all rows."""
    call = arguments(pointer)
    T, I, L = call.T, call.I, lanes(call.zero)
    rows = rows_of_all(call)
    units, inputs, gates = blocks_of(call.H, call), blocks_of(I, call), gates_of(call)
    tasks = call.directions * call.blocks
    D = Array(call.D, call.zero, (call.directions * units, rows, gradients_of(call), L))
    panels = Array(call.panels_ih, call.zero, (call.directions * inputs, units * gates * L, L))
    scratch = Array(call.scratch, call.zero, (tasks, ROWS_AT_ONCE, 4, L))
    d_x = Array(call.d_x, call.zero, (rows, I))
    for task in range(first_task, last_task):
        row, end = rows * task // tasks, rows * (task + 1) // tasks
        while row < end:
            n = count_from(row, end, end)
            some = Some(0, 0, n, row, -1, task)
            for k in range(inputs):
                for d in range(call.directions):
                    # The GRU's D has the gradient of the recurrent product before those of W_ih x + b_ih.
                    given = rows_in_blocks(D, units, d * units, row, n, 1 if call.cell == GRU else 0, gates)
                    panel = panel_at(panels, (d * inputs + k,), 0, units * gates * L)
                    product(call, n, 0, given, panel, NONE, 0, room(scratch, some, 0), 1, 0)
                    for r in range(n):
                        x = load(scratch, (task, r, 0))
                        if d:
                            x = x + load_part(d_x, (row + r, L * k), I - L * k)
                        store_part(d_x, (row + r, L * k), x, I - L * k)
            row += n
