"""The walk forward: from the first step to the last, the state of each step from that of the step before."""

from . import gru, lstm, rnn
from .arguments import (
    GRU,
    LSTM,
    RELU,
    arguments,
    blocks_of,
    gates_of,
    sequences_at,
    slots_of,
    steps,
)
from .memory import Array, get, jit, load, load_part, put, store, store_part
from .products import NONE, product
from .sharing import next_part
from .vectors import BYTES, first, lanes
from .walk import (
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
def forward(first_task, last_task, pointer):
    """Compute all steps, for the blocks of some tasks."""
    call = arguments(pointer)
    for task in range(first_task, last_task):
        forward_block(call, task)


@jit
def forward_block(call, task):
    """Compute all steps of the block of a task, or its share of them."""
    I, R, L = call.I, call.R, lanes(call.zero)
    at, directions = steps(call), call.directions
    units, projected = blocks_of(call.H, call), blocks_of(R, call)
    panels = Array(call.panels, call.zero, (directions * units, gates_of(call), I + R + 2, L))
    panels_hr = Array(call.panels_hr, call.zero, (directions * projected, units * L, L))
    arrays, phase = arrays_of(call, panels, panels_hr), 0
    for i in range(call.T):
        step = step_of(call, at, task, i)
        part = next_part(call, task, phase, False)
        while part >= 0:
            forward_units(call, arrays, at, step, part)
            part = next_part(call, task, phase, True)
        phase += 1
        if call.projected:
            part = next_part(call, task, phase, False)
            while part >= 0:
                project_units(call, arrays, at, step, part)
                part = next_part(call, task, phase, True)
            phase += 1
    if task % call.shares == 0:
        final_states(call, arrays, task)


@jit
def forward_units(call, arrays, at, step, part):
    """Compute a part of the units at a step."""
    first_unit, last_unit = part_of(call, part, blocks_of(call.H, call))
    for u in range(first_unit, last_unit, 4 if gates_of(call) == 1 else 1):
        wide, b = min(4, last_unit - u), step.start
        while b < step.end:
            n = count_from(b, step.end, step.begun)
            some = sequences(at, step, b, n)
            forward_products(call, arrays, some, u, wide)
            if call.cell == LSTM:
                lstm_forward(call, arrays, some, u)
            elif call.cell == GRU:
                gru_forward(call, arrays, some, u)
            else:
                rnn_forward(call, arrays, some, u, wide)
            b += n


@jit
def project_units(call, arrays, at, step, part):
    """Compute a part of the projected features at a step."""
    first_projected, last_projected = part_of(call, part, blocks_of(call.R, call))
    for p in range(first_projected, last_projected):
        b = step.start
        while b < step.end:
            n = count_from(b, step.end, step.end)
            project(call, arrays, sequences(at, step, b, n), p)
            b += n


@jit
def forward_products(call, arrays, some, u, wide):
    """W_ih x_t + W_hh h_{t-1} + the biases, for all gates of a block; for the GRU's n the two apart.

    The RNN has one gate: here are up to four blocks instead.
    """
    I, R = call.I, call.R
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
def rnn_forward(call, arrays, some, u, wide):
    """The RNN's equation for up to four blocks of units."""
    for i in range(wide):
        for r in range(some.n):
            h = rnn.forward(load(arrays.scratch, (some.task, r, i)), call.cell == RELU)
            store_h(call, arrays, some, r, u + i, h)


@jit
def final_states(call, arrays, task):
    """Copy the state after the last step of each sequence of a block."""
    B, H, R, L = call.B, call.H, call.R, lanes(call.zero)
    at, units = steps(call), blocks_of(H, call)
    last = step_of(call, at, task, call.T - 1)
    d, t = last.d, last.t
    h_n = Array(call.h_n, call.zero, (call.directions * B, R))
    c_n = Array(call.c_n, call.zero, (call.directions * B, H))
    for b in range(last.start, last.stop):
        while sequences_at(at, t) <= b:
            t -= 1
        for k in range(R):
            put(h_n, (d * B + b, k), get(arrays.h, (get(at, (t,)) + b, d * R + k)))
        if call.cell == LSTM:
            row = get(at, (t,)) + b if call.keep else b
            for u in range(units):
                store_part(c_n, (d * B + b, L * u), load(arrays.kept, (d * units + u, row, lstm.C)), H - L * u)
