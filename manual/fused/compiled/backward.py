"""The walk back: the gradients of each step from those of the step after it, and at last those of the input."""

from . import gru, lstm, rnn
from .arguments import (
    GRU,
    LSTM,
    RELU,
    arguments,
    block_bounds,
    blocks_of,
    gates_of,
    rows_of_all,
    sequences_at,
    steps,
    tasks_of,
)
from .barrier import wait
from .memory import Array, get, jit, load, load_part, store, store_part, zeros
from .products import NONE, product
from .vectors import BYTES, first, lanes
from .walk import Some, arrays_of, count_from, h_before, panel_at, part_of, room, rows_in_blocks, rows_of, share_of


@jit
def backward(first_task, last_task, pointer):
    """Carry the gradients from the last step to the first, for some shares of blocks, direction by direction."""
    call = arguments(pointer)
    task = first_task
    while task < last_task:
        share = share_of(call, task, last_task)
        backward_block(call, share)
        task += share.last - share.first


@jit
def backward_block(call, share):
    """Carry the gradients of one block in one direction."""
    T, R, L, directions = call.T, call.R, lanes(call.zero), call.directions
    at, d, task = steps(call), share.d, share.task
    start, stop = block_bounds(call, share.block)
    units, recurrent = blocks_of(call.H, call), blocks_of(R, call)
    first_unit, last_unit = part_of(call, share, units)
    first_recurrent, last_recurrent = part_of(call, share, recurrent)
    panels = Array(call.panels, call.zero, (directions * recurrent, 1, units * gates_of(call) * L, L))
    panels_hr = Array(call.panels_hr, call.zero, (directions * units, R, L))
    arrays, times = arrays_of(call, panels, panels_hr), 0
    for u in range(first_unit, last_unit):
        start_carrying(call, arrays, d, u, start, stop)
    for i in range(T - 1, -1, -1):
        t = T - 1 - i if d else i
        before, after = (t + 1, t - 1) if d else (t - 1, t + 1)
        begun = sequences_at(at, before) if i else 0  # sequences that have a step before this one
        going = sequences_at(at, after) if i < T - 1 else 0  # and that have one after it
        border = begun if d else going
        end = min(stop, sequences_at(at, t))
        if call.projected:
            for p in range(first_recurrent, last_recurrent, 4):
                b = start
                while b < end:
                    n = count_from(b, end, border)
                    some = Some(d, b, n, get(at, (t,)) + b, -1, task)
                    later = get(at, (after,)) + b if b < going else -1
                    gradients_of_projected(call, arrays, some, later, p, min(4, last_recurrent - p))
                    b += n
            times += 1
            wait(call, share, times)
        for u in range(first_unit, last_unit, 4):
            wide = min(4, last_unit - u)
            b = start
            while b < end:
                n = count_from(b, end, border)
                some = Some(d, b, n, get(at, (t,)) + b, get(at, (before,)) + b if b < begun else -1, task)
                if call.projected:
                    gradients_before_projection(call, arrays, some, u, wide)
                else:
                    later = get(at, (after,)) + b if b < going else -1
                    gradients_from_after(call, arrays, some, later, u, wide)
                for i_u in range(wide):
                    if call.cell == LSTM:
                        lstm_backward(call, arrays, some, u + i_u, i_u)
                    elif call.cell == GRU:
                        gru_backward(call, arrays, some, u + i_u, i_u)
                    else:
                        rnn_backward(call, arrays, some, u + i_u, i_u)
                b += n
        times += 1
        wait(call, share, times)
        b = max(start, begun)
        while b < end:  # those that begin at this step
            n = count_from(b, end, end)
            some = Some(d, b, n, get(at, (t,)) + b, -1, task)
            for q in range(first_recurrent, last_recurrent):
                gradients_of_h_0(call, arrays, some, q)
            for u in range(first_unit, last_unit):
                gradients_of_c_0(call, arrays, some, u)
            b += n


@jit
def start_carrying(call, arrays, d, u, start, end):
    """Begin what is carried of a block of units with the gradient of the LSTM's final c, or with zero."""
    H, B, L = call.H, call.B, lanes(call.zero)
    d_c_n = Array(call.d_c_n, call.zero, (call.directions * B, H))
    for b in range(start, end):
        x = zeros(call.zero)
        if call.cell == LSTM and call.d_c_n:
            x = load_part(d_c_n, (d * B + b, L * u), H - L * u)
        store(arrays.carried, (d * blocks_of(H, call) + u, b), x)


@jit
def recurrent_product(call, arrays, some, row, q, wide):
    """W_hh^T D for the rows from one on and some blocks of features, into scratch."""
    units, gates, L = blocks_of(call.H, call), gates_of(call), lanes(call.zero)
    D = rows_in_blocks(arrays.D, units, some.d * units, row, some.n, 0, gates)
    panel = panel_at(arrays.panels, (some.d * blocks_of(call.R, call) + q, 0), 0, units * gates * L)
    beside = units * gates * L * BYTES
    product(call, some.n, 0, D, panel, NONE, 0, room(arrays.scratch, some, 0), wide, beside)


@jit
def gradients_from_after(call, arrays, some, later, q, wide):
    """dL/dh_t of some blocks of features, into scratch: from the step after and the output, or the final state."""
    R, L = call.R, lanes(call.zero)
    if later >= 0:
        recurrent_product(call, arrays, some, later, q, wide)
    for i in range(wide):
        column = L * (q + i)
        for r in range(some.n):
            x = zeros(call.zero)
            if later >= 0:
                x = load(arrays.scratch, (some.task, r, i))
            elif call.d_h_n:
                x = load_part(arrays.d_h_n, (some.d * call.B + some.b + r, column), R - column)
            if call.d_out:
                x = x + load_part(arrays.d_out, (some.row + r, some.d * R + column), R - column)
            store(arrays.scratch, (some.task, r, i), x)


@jit
def gradients_of_projected(call, arrays, some, later, p, wide):
    """dL/dh_t of some blocks of projected features, which W_hr's own gradient needs, too."""
    R, L = call.R, lanes(call.zero)
    gradients_from_after(call, arrays, some, later, p, wide)
    for i in range(wide):
        column = L * (p + i)
        for r in range(some.n):
            x = load(arrays.scratch, (some.task, r, i))
            store_part(arrays.dh, (some.row + r, some.d * R + column), x, R - column)


@jit
def gradients_before_projection(call, arrays, some, u, wide):
    """W_hr^T dL/dh_t for some blocks of units, into scratch."""
    R = call.R
    dh = rows_of(arrays.dh, some.row, some.n, some.d * R, R)
    panel = panel_at(arrays.panels_hr, (some.d * blocks_of(call.H, call) + u,), 0, R)
    product(call, some.n, 0, dh, panel, NONE, 0, room(arrays.scratch, some, 0), wide, R * BYTES)


@jit
def store_D(arrays, block, row, slot, x, n):
    """Put a gate's gradients, zero for the units that are not there, whatever was computed for them."""
    store(arrays.D, (block, row, slot), first(x, n))


@jit
def lstm_backward(call, arrays, some, u, i):
    """The LSTM's gradients for a block of units."""
    H, L = call.H, lanes(call.zero)
    block, n = some.d * blocks_of(H, call) + u, H - L * u
    kept, carried = arrays.kept, arrays.carried
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
        store_D(arrays, block, row, 0, da_i, n)
        store_D(arrays, block, row, 1, da_f, n)
        store_D(arrays, block, row, 2, da_g, n)
        store_D(arrays, block, row, 3, da_o, n)


@jit
def gru_backward(call, arrays, some, u, i):
    """The GRU's gradients for a block of units."""
    H, L = call.H, lanes(call.zero)
    block, n = some.d * blocks_of(H, call) + u, H - L * u
    kept, carried = arrays.kept, arrays.carried
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
        store_D(arrays, block, row, 0, dm, n)
        store_D(arrays, block, row, 1, da_r, n)
        store_D(arrays, block, row, 2, da_z, n)
        store_D(arrays, block, row, 3, da_n, n)


@jit
def rnn_backward(call, arrays, some, u, i):
    """The RNN's gradients for a block of units."""
    H, L = call.H, lanes(call.zero)
    block, n = some.d * blocks_of(H, call) + u, H - L * u
    for r in range(some.n):
        row = some.row + r
        h = load_part(arrays.h, (row, some.d * H + L * u), n)
        da = rnn.backward(h, load(arrays.scratch, (some.task, r, i)), call.cell == RELU)
        store_D(arrays, block, row, 0, da, n)


@jit
def gradients_of_h_0(call, arrays, some, q):
    """Those of a block of features, for sequences whose first step was the last to be computed."""
    R, L = call.R, lanes(call.zero)
    if call.d_h_0:
        d_h_0 = Array(call.d_h_0, call.zero, (call.directions * call.B, R))
        recurrent_product(call, arrays, some, some.row, q, 1)
        for r in range(some.n):
            x = load(arrays.scratch, (some.task, r, 0))
            if call.cell == GRU:
                x = x + load(arrays.carried, (some.d * blocks_of(call.H, call) + q, some.b + r))
            store_part(d_h_0, (some.d * call.B + some.b + r, L * q), x, R - L * q)


@jit
def gradients_of_c_0(call, arrays, some, u):
    """Those of a block of units, likewise."""
    H, L = call.H, lanes(call.zero)
    if call.d_c_0:
        d_c_0 = Array(call.d_c_0, call.zero, (call.directions * call.B, H))
        for r in range(some.n):
            x = load(arrays.carried, (some.d * blocks_of(H, call) + u, some.b + r))
            store_part(d_c_0, (some.d * call.B + some.b + r, L * u), x, H - L * u)


@jit
def input_gradients(first_task, last_task, pointer):
    """dL/dx = W_ih^T D of both directions, for some parts of all rows."""
    call = arguments(pointer)
    I, L, directions = call.I, lanes(call.zero), call.directions
    rows, tasks = rows_of_all(call), tasks_of(call)
    units, inputs, gates = blocks_of(call.H, call), blocks_of(I, call), gates_of(call)
    panels = Array(call.panels_ih, call.zero, (directions * inputs, units * gates * L, L))
    arrays = arrays_of(call, panels, panels)
    d_x = Array(call.d_x, call.zero, (rows, I))
    for task in range(first_task, last_task):
        row, end = rows * task // tasks, rows * (task + 1) // tasks
        while row < end:
            n = count_from(row, end, end)
            some = Some(0, 0, n, row, -1, task)
            for k in range(inputs):
                for d in range(directions):
                    # The GRU's D has the gradient of the recurrent product before those of W_ih x + b_ih.
                    given = rows_in_blocks(arrays.D, units, d * units, row, n, 1 if call.cell == GRU else 0, gates)
                    panel = panel_at(panels, (d * inputs + k,), 0, units * gates * L)
                    product(call, n, 0, given, panel, NONE, 0, room(arrays.scratch, some, 0), 1, 0)
                    for r in range(n):
                        x = load(arrays.scratch, (task, r, 0))
                        if d:
                            x = x + load_part(d_x, (row + r, L * k), I - L * k)
                        store_part(d_x, (row + r, L * k), x, I - L * k)
            row += n
