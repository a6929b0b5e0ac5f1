"""Weights as panels: for each block of columns what a tile of `products` reads from top to bottom.

Forward, a product gives the units of a block, and its panels are columns of W^T:

    panels     (directions, units, gates, I + R + 2, lanes)  W_ih^T, W_hh^T, then the bias that the sum begins with, and
                                                             for the GRU's n that of its recurrent product
    panels_hr  (directions, projected, units, lanes, lanes)  W_hr^T

Backward it gives the features that the units were computed from, and its panels are columns of W:

    panels     (directions, recurrent, units, gates * lanes, lanes)  W_hh, the gates in the order of D
    panels_ih  (directions, input, units, gates * lanes, lanes)      W_ih, likewise
    panels_hr  (directions, units, R, lanes)                         W_hr

Where a block of units is partly empty there are zeros.
"""

from .arguments import GRU, arguments, blocks_of, gates_of
from .memory import Array, get, jit, load_part, part, put, store, zeros
from .vectors import lanes

W_IH, W_HH, B_IH, B_HH, W_HR = range(5)


@jit
def weight(call, d, which, shape):
    """One of the weights of a direction."""
    return Array(get(Array(call.weights, 0, (call.directions, 5)), (d, which)), call.zero, shape)


@jit
def forward_tasks(call):
    """How many blocks `pack` has to fill in a direction."""
    return blocks_of(call.H, call) + (blocks_of(call.R, call) if call.projected else 0)


@jit
def pack(first, last, pointer):
    """Fill the panels of the forward pass, for some of the blocks."""
    call = arguments(pointer)
    tasks, units = forward_tasks(call), blocks_of(call.H, call)
    for task in range(first, last):
        if task % tasks < units:
            pack_gates(call, task // tasks, task % tasks)
        else:
            pack_projection(call, task // tasks, task % tasks - units)


@jit
def pack_gates(call, d, u):
    """Fill the panels of all gates for one block of units."""
    gates, I, H, R, L = gates_of(call), call.I, call.H, call.R, lanes(call.zero)
    panels = Array(call.panels, call.zero, (call.directions * blocks_of(H, call), gates, I + R + 2, L))
    W_ih, W_hh = weight(call, d, W_IH, (gates * H, I)), weight(call, d, W_HH, (gates * H, R))
    here = min(H - L * u, L)
    for g in range(gates):
        row = g * H + L * u
        panel = part(part(panels, d * blocks_of(H, call) + u), g)
        transpose(W_ih, row, here, 0, I, panel, 0)
        transpose(W_hh, row, here, 0, R, panel, I)
        b_ih = b_hh = zeros(call.zero)
        if weight(call, d, B_IH, (0,)).place:
            b_ih = load_part(weight(call, d, B_IH, (gates * H,)), (row,), here)
            b_hh = load_part(weight(call, d, B_HH, (gates * H,)), (row,), here)
        if call.cell == GRU and g == 2:
            store(panel, (I + R,), b_ih)
            store(panel, (I + R + 1,), b_hh)
        else:
            store(panel, (I + R,), b_ih + b_hh)


@jit
def pack_projection(call, d, p):
    """Fill the panels of W_hr^T for one block of projected features."""
    units, projected, H, L = blocks_of(call.H, call), blocks_of(call.R, call), call.H, lanes(call.zero)
    panels = Array(call.panels_hr, call.zero, (call.directions * projected, units, L, L))
    W_hr = weight(call, d, W_HR, (call.R, H))
    for u in range(units):
        panel = part(part(panels, d * projected + p), u)
        count = min(H - L * u, L)
        transpose(W_hr, L * p, min(call.R - L * p, L), L * u, count, panel, 0)
        for k in range(count, L):
            store(panel, (k,), zeros(call.zero))


@jit
def transpose(W, row, count, column, K, panel, first):
    """Put some rows of W, K numbers from a column on, into the lanes of a panel; zero into the lanes left."""
    for k in range(K):
        for lane in range(count):
            put(panel, (first + k, lane), get(W, (row + lane, column + k)))
        for lane in range(count, panel.shape[1]):
            put(panel, (first + k, lane), 0)


@jit
def backward_tasks(call):
    """How many blocks `pack_backward` has to fill in a direction."""
    inputs = blocks_of(call.I, call) if call.d_x else 0
    return blocks_of(call.R, call) + inputs + (blocks_of(call.H, call) if call.projected else 0)


@jit
def pack_backward(first, last, pointer):
    """Fill the panels of the backward pass, for some of the blocks."""
    call = arguments(pointer)
    tasks, units, recurrent, inputs = (
        backward_tasks(call),
        blocks_of(call.H, call),
        blocks_of(call.R, call),
        blocks_of(call.I, call) if call.d_x else 0,
    )
    gates, L = gates_of(call), lanes(call.zero)
    panels = Array(call.panels, call.zero, (call.directions * recurrent, units, gates * L, L))
    panels_ih = Array(call.panels_ih, call.zero, (call.directions * inputs, units, gates * L, L))
    for task in range(first, last):
        d, block = task // tasks, task % tasks
        if block < recurrent:
            columns(
                call, weight(call, d, W_HH, (gates * call.H, call.R)), block, part(panels, d * recurrent + block), 2
            )
        elif block < recurrent + inputs:
            block -= recurrent
            columns(
                call, weight(call, d, W_IH, (gates * call.H, call.I)), block, part(panels_ih, d * inputs + block), 0
            )
        else:
            u = block - recurrent - inputs
            panel = part(Array(call.panels_hr, call.zero, (call.directions * units, call.R, L)), d * units + u)
            W_hr = weight(call, d, W_HR, (call.R, call.H))
            for k in range(call.R):
                store(panel, (k,), load_part(W_hr, (k, L * u), call.H - L * u))


@jit
def columns(call, W, block, panels, shift):
    """Fill the panels of one block of W's columns; D has the GRU's gates from `shift` on: n, r, z, or r, z, n."""
    gates, H, L = gates_of(call), call.H, lanes(call.zero)
    nothing = zeros(call.zero)
    for u in range(panels.shape[0]):
        for g in range(gates):
            gate = (g + shift) % 3 if call.cell == GRU else g
            for k in range(L):
                x = nothing
                if L * u + k < H:
                    x = load_part(W, (gate * H + L * u + k, L * block), W.shape[1] - L * block)
                store(panels, (u, g * L + k), x)
