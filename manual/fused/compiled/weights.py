"""The gradients of weights and biases, over all steps at once.

dL/dW_ih = D_ih^T x          dL/db_ih = sum of the rows of D_ih
dL/dW_hh = D_hh^T h_prev     dL/db_hh = sum of the rows of D_hh     dL/dW_hr = dh^T q

D_ih are the gradients of W_ih x + b_ih at all steps, a row for each step of each sequence, D_hh those of
W_hh h_prev + b_hh. Each thread computes some rows of the weights, and for these sums all rows of D in one order: no
digit depends on how many threads there are.
"""

from .arguments import (
    GRU,
    arguments,
    blocks_of,
    gates_of,
    gradients_of,
    rows_of_all,
    sequences_at,
    slots_of,
    steps,
    tasks_of,
)
from .memory import Array, address, get, itemsize, jit, load, load_part, part, store, store_part, zeros
from .packing import B_HH, B_IH, W_HH, W_HR, W_IH
from .products import NONE, Rows, product
from .vectors import BYTES, lanes
from .walk import arrays_of

ROWS_SUMMED = 192  # at once: so many rows of a panel stay in the cache


@jit
def gradient(call, d, which, shape):
    """Where the gradient of one of the weights of a direction goes."""
    return Array(get(Array(call.d_weights, 0, (call.directions, 5)), (d, which)), call.zero, shape)


@jit
def asked(call, d, which):
    """Whether this gradient is asked for."""
    return get(Array(call.d_weights, 0, (call.directions, 5)), (d, which)) != 0


@jit
def panels_of(call):
    """How many panels of rows a task fills: of h_prev and of x, or of q; and what they are multiplied by."""
    return max(blocks_of(call.R, call) + blocks_of(call.I, call), blocks_of(call.H, call)) + 1


@jit
def weight_gradients(first_task, last_task, pointer):
    """Compute the gradients of some of the weights: those of a part of the units of a direction in each task."""
    call = arguments(pointer)
    H, L = call.H, lanes(call.zero)
    rows = rows_of_all(call)
    units, count = blocks_of(H, call), panels_of(call)
    tasks, each = tasks_of(call), call.blocks * call.shares
    panels = Array(call.summed, call.zero, (tasks, count, ROWS_SUMMED, L))
    arrays = arrays_of(call, panels, panels)
    for task in range(first_task, last_task):
        d, share = task // each, task % each
        begin, end = units * share // each, units * (share + 1) // each
        for row in range(0, rows, ROWS_SUMMED):
            n = min(ROWS_SUMMED, rows - row)
            if asked(call, d, W_HH):
                fill_h_before(call, arrays, d, row, n, part(panels, task))
            if asked(call, d, W_IH):
                fill_x(call, arrays, row, n, part(panels, task))
            for u in range(begin, end):
                sum_gates(call, arrays, task, d, u, row, n, part(panels, task))
            if call.projected and asked(call, d, W_HR):
                sum_projection(call, arrays, task, d, share, row, n, part(panels, task))


@jit
def fill_h_before(call, arrays, d, row, n, panels):
    """Fill a panel for each block of features of h_prev, from some of all rows."""
    T, B, R, L = call.T, call.B, call.R, lanes(call.zero)
    at = steps(call)
    t, end, k = 0, row + n, 0
    while get(at, (t + 1,)) <= row:
        t += 1
    while row < end:
        before = t + 1 if d else t - 1
        b = row - get(at, (t,))
        begun = sequences_at(at, before) if 0 <= before < T else 0
        if b < begun:  # rows of this step whose sequences have a step before
            count = min(min(begun, sequences_at(at, t)) - b, end - row)
            source, first_row, column = arrays.h, get(at, (before,)) + b, d * R
        else:
            count = min(get(at, (t + 1,)) - row, end - row)
            source, first_row, column = arrays.h_0, d * B + b, 0
        for q in range(blocks_of(R, call)):
            for i in range(count):
                x = load_part(source, (first_row + i, column + L * q), R - L * q)
                store(panels, (q, k + i), x)
        row += count
        k += count
        if row == get(at, (t + 1,)):
            t += 1


@jit
def fill_x(call, arrays, row, n, panels):
    """Fill a panel for each block of features of x, from some of all rows."""
    I, L = call.I, lanes(call.zero)
    for q in range(blocks_of(I, call)):
        for i in range(n):
            store(panels, (blocks_of(call.R, call) + q, i), load_part(arrays.x, (row + i, L * q), I - L * q))


@jit
def sum_gates(call, arrays, task, d, u, row, n, panels):
    """Add what some of all rows bring to the gradients of a block of units, gate by gate."""
    I, H, R, L = call.I, call.H, call.R, lanes(call.zero)
    units, gates, slots = blocks_of(H, call), gates_of(call), gradients_of(call)
    here, columns = min(H - L * u, L), part(panels, panels_of(call) - 1)
    for slot in range(slots):
        hh, ih = slot, slot  # the gate, or -1 where the slot is not of this product
        if call.cell == GRU:
            hh, ih = (slot + 2) % 3 if slot < 3 else -1, slot - 1
        total = zeros(call.zero)
        for i in range(n):
            x = load(arrays.D, (d * units + u, row + i, slot))
            store(columns, (i,), x)
            total = total + x
        if hh >= 0:
            unit = hh * H + L * u
            if asked(call, d, W_HH):
                d_W_hh = gradient(call, d, W_HH, (gates * H, R))
                for q in range(blocks_of(R, call)):
                    add_product(call, arrays, task, columns, n, here, part(panels, q), d_W_hh, unit, L * q, row > 0)
            if asked(call, d, B_HH):
                add_vector(gradient(call, d, B_HH, (gates * H,)), unit, total, here, row > 0)
        if ih >= 0:
            unit = ih * H + L * u
            if asked(call, d, W_IH):
                d_W_ih = gradient(call, d, W_IH, (gates * H, I))
                for q in range(blocks_of(I, call)):
                    panel = part(panels, blocks_of(R, call) + q)
                    add_product(call, arrays, task, columns, n, here, panel, d_W_ih, unit, L * q, row > 0)
            if asked(call, d, B_IH):
                add_vector(gradient(call, d, B_IH, (gates * H,)), unit, total, here, row > 0)


@jit
def sum_projection(call, arrays, task, d, share, row, n, panels):
    """Add what some of all rows bring to the gradient of W_hr, for a part of its rows."""
    H, R, L = call.H, call.R, lanes(call.zero)
    units, projected, slots = blocks_of(H, call), blocks_of(R, call), slots_of(call)
    columns, d_W_hr = part(panels, panels_of(call) - 1), gradient(call, d, W_HR, (R, H))
    for u in range(units):
        for i in range(n):
            store(panels, (u, i), load(arrays.kept, (d * units + u, row + i, slots - 1)))
    each = call.blocks * call.shares
    for p in range(projected * share // each, projected * (share + 1) // each):
        for i in range(n):
            store(columns, (i,), load_part(arrays.dh, (row + i, d * R + L * p), R - L * p))
        for u in range(units):
            add_product(
                call, arrays, task, columns, n, min(R - L * p, L), part(panels, u), d_W_hr, L * p, L * u, row > 0
            )


@jit
def add_product(call, arrays, task, columns, n, count, panel, out, row, column, more):
    """Add the product of some columns with a panel, of n rows each, to a part of a matrix; or begin with it."""
    L = lanes(call.zero)
    rows = Rows(address(columns, (0, 0), (n - 1, L - 1)), itemsize(columns), BYTES, n, 1, 0)
    place = address(arrays.scratch, (task, 0, 0, 0), (task, count - 1, 0, L - 1))
    product(call, count, 0, rows, address(panel, (0, 0), (n - 1, L - 1)), NONE, 0, place, 1, 0)
    width = out.shape[1] - column
    for i in range(count):
        x = load(arrays.scratch, (task, i, 0))
        if more:
            x = x + load_part(out, (row + i, column), width)
        store_part(out, (row + i, column), x, width)


@jit
def add_vector(out, begin, x, count, more):
    """Add the first lanes of a vector to a part of an array, or begin with them."""
    if more:
        x = x + load_part(out, (begin,), count)
    store_part(out, (begin,), x, count)
