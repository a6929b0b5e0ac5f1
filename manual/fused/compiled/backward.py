"""The walk back: the gradients of each step from those of the step after it, and at last those of the input."""

from . import gru, lstm, rnn
from .arguments import (
    GRU,
    LSTM,
    RELU,
    arguments,
    blocks_of,
    gates_of,
    rows_of_all,
    steps,
    tasks_of,
)
from .memory import Array, get, jit, load, load_part, store, store_part, zeros
from .products import NONE, product
from .sharing import next_part
from .vectors import BYTES, first, lanes
from .walk import (
    Some,
    arrays_of,
    count_from,
    h_before,
    panel_at,
    part_of,
    room,
    rows_in_blocks,
    rows_of,
    sequences,
    step_of,
)


@jit
def backward(first_task, last_task, pointer):
    """Carry the gradients from the last step to the first, for the blocks of some tasks."""
    call = arguments(pointer)
    for task in range(first_task, last_task):
        backward_block(call, task)


@jit
def backward_block(call, task):
    """Carry the gradients of the block of a task, or its share of them."""
    R, L, directions = call.R, lanes(call.zero), call.directions
    at, units, recurrent = steps(call), blocks_of(call.H, call), blocks_of(R, call)
    panels = Array(call.panels, call.zero, (directions * recurrent, 1, units * gates_of(call) * L, L))
    panels_hr = Array(call.panels_hr, call.zero, (directions * units, R, L))
    arrays, phase = arrays_of(call, panels, panels_hr), 0
    for i in range(call.T - 1, -1, -1):
        step = step_of(call, at, task, i)
        if call.projected:
            part = next_part(call, task, phase, False)
            while part >= 0:
                backward_projected(call, arrays, at, step, part)
                part = next_part(call, task, phase, True)
            phase += 1
        part = next_part(call, task, phase, False)
        while part >= 0:
            backward_units(call, arrays, at, step, part, i == call.T - 1)
            part = next_part(call, task, phase, True)
        phase += 1
        gradients_of_initial(call, arrays, at, step, task % call.shares)


@jit
def backward_projected(call, arrays, at, step, part):
    """Compute the gradients of a part of the projected features at a step."""
    first_projected, last_projected = part_of(call, part, blocks_of(call.R, call))
    for p in range(first_projected, last_projected, 4):
        b = step.start
        while b < step.end:
            n = count_from(b, step.end, border_of(step))
            some = sequences(at, step, b, n)
            gradients_of_projected(call, arrays, some, later_row(at, step, b), p, min(4, last_projected - p))
            b += n


@jit
def backward_units(call, arrays, at, step, part, is_first):
    """Compute the gradients of a part of the units at a step, the first that is computed or another."""
    first_unit, last_unit = part_of(call, part, blocks_of(call.H, call))
    if is_first:
        for u in range(first_unit, last_unit):
            start_carrying(call, arrays, step, u)
    for u in range(first_unit, last_unit, 4):
        wide, b = min(4, last_unit - u), step.start
        while b < step.end:
            n = count_from(b, step.end, border_of(step))
            some = sequences(at, step, b, n)
            if call.projected:
                gradients_before_projection(call, arrays, some, u, wide)
            else:
                gradients_from_after(call, arrays, some, later_row(at, step, b), u, wide)
            for i in range(wide):
                if call.cell == LSTM:
                    lstm_backward(call, arrays, some, u + i, i)
                elif call.cell == GRU:
                    gru_backward(call, arrays, some, u + i, i)
                else:
                    rnn_backward(call, arrays, some, u + i, i)
            b += n


@jit
def border_of(step):
    """Where sequences end that have a step after this one, or one before it."""
    return step.begun if step.d else step.going


@jit
def later_row(at, step, b):
    """The row of a sequence at the step after this one, or -1 where it has none."""
    return get(at, (step.after,)) + b if b < step.going else -1


@jit
def gradients_of_initial(call, arrays, at, step, part):
    """Compute those of a part of the units, for sequences whose first step this is."""
    first_feature, last_feature = part_of(call, part, blocks_of(call.R, call))
    first_unit, last_unit = part_of(call, part, blocks_of(call.H, call))
    b = max(step.start, step.begun)
    while b < step.end:
        n = count_from(b, step.end, step.end)
        some = sequences(at, step, b, n)
        for q in range(first_feature, last_feature):
            gradients_of_h_0(call, arrays, some, q)
        for u in range(first_unit, last_unit):
            gradients_of_c_0(call, arrays, some, u)
        b += n


@jit
def start_carrying(call, arrays, step, u):
    """Begin what is carried of a block of units with the gradient of the LSTM's final c, or with zero."""
    H, B, L = call.H, call.B, lanes(call.zero)
    d_c_n = Array(call.d_c_n, call.zero, (call.directions * B, H))
    for b in range(step.start, step.stop):
        x = zeros(call.zero)
        if call.cell == LSTM and call.d_c_n:
            x = load_part(d_c_n, (step.d * B + b, L * u), H - L * u)
        store(arrays.carried, (step.d * blocks_of(H, call) + u, b), x)


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
