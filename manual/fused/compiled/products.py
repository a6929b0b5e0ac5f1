"""Products of rows with panels of weights: what every step spends its time on.

A panel is a matrix (K, lanes), whose row k is multiplied by the number k of a row. A tile takes up to six rows at
once: their sums stay in registers, and each vector of the panel is loaded once for all of them. Each row's sum is the
same, to the bit, however many rows there are beside it.

Here are addresses alone. `multiply` is a kernel of its own, which the others call by its address, to be compiled once.
"""

from typing import NamedTuple

from .memory import call_at, jit, load_vector, multiply_panels, multiply_rows, store_rows, vector_at
from .vectors import BYTES

ROWS = 6  # of a tile: as many sums as the registers of AVX2 hold beside the vector and the number
BETWEEN = 4 * BYTES  # from one row of products to the next: room for four gates


class Rows(NamedTuple):
    """Rows to be multiplied by a panel; or several times such rows, by one panel each, whose products are added.

    Args:
        first: address of the first row.
        apart: bytes from one row to the next.
        step: bytes from one number of a row to the next.
        K: numbers of a row.
        times: how many times; the panels follow each other.
        ahead: bytes from a row to that of the next time.
    """

    first: int
    apart: int
    step: int
    K: int
    times: int
    ahead: int


NONE = Rows(0, 0, 0, 0, 0, 0)


@jit
def product(call, n, start, rows, panel, others, other_panel, out, wide, beside):
    """Store start + rows * panel + others * other_panel for n rows, `BETWEEN` bytes from each other.

    Args:
        call: the arguments of the kernel.
        n: how many rows.
        start: address of a vector, or 0 to start with zero.
        rows, others: what is multiplied.
        panel, other_panel: addresses of what it is multiplied by.
        out: address of the first vector to be stored.
        wide: how many panels there are side by side, four at most; their products go to vectors side by side.
        beside: bytes from one of them to the next, and from one start to the next.
    """
    a, b = rows, others
    given = a.first, a.apart, a.step, a.K, a.times, a.ahead, panel
    more = b.first, b.apart, b.step, b.K, b.times, b.ahead, other_panel
    call_at(call.multiply, (0, n, start, *given, *more, out, wide, beside))


def multiply(
    like, n, start, first, apart, step, K, times, ahead, panel,
    first_2, apart_2, step_2, K_2, times_2, ahead_2, panel_2, out, wide, beside,
):  # fmt: skip
    """Do what `product` says: a pointer tells the dtype, then come its numbers one by one."""
    rows = Rows(first, apart, step, K, times, ahead)
    others = Rows(first_2, apart_2, step_2, K_2, times_2, ahead_2)
    if n < 3 and wide > 1:
        for row in range(n):
            side_by_side(like, start, row, rows, panel, others, panel_2, out, wide, beside)
    else:
        for i in range(wide):
            z = vector_at(start + i * beside if start else 0, like)
            in_tiles(z, n, rows, panel + i * beside, others, panel_2 + i * beside, out + i * BYTES)


@jit
def in_tiles(z, n, rows, panel, others, other_panel, out):
    """Compute all rows, in tiles that differ by one row at most."""
    done = 0
    tiles = (n + ROWS - 1) // ROWS
    while done < n:
        count = (n - done + tiles - 1) // tiles
        if count == 6:
            tile((z, z, z, z, z, z), done, rows, panel, others, other_panel, out)
        elif count == 5:
            tile((z, z, z, z, z), done, rows, panel, others, other_panel, out)
        elif count == 4:
            tile((z, z, z, z), done, rows, panel, others, other_panel, out)
        elif count == 3:
            tile((z, z, z), done, rows, panel, others, other_panel, out)
        elif count == 2:
            tile((z, z), done, rows, panel, others, other_panel, out)
        else:
            tile((z,), done, rows, panel, others, other_panel, out)
        done += count
        tiles -= 1


@jit
def tile(sums, skipped, rows, panel, others, other_panel, out):
    """Add the products of one tile to what the sums begin with, and store them."""
    for _ in range(2):
        sums = add(sums, skipped, rows, panel)
        rows, panel = others, other_panel
    store_rows(sums, out + skipped * BETWEEN, BETWEEN)


@jit
def add(sums, skipped, rows, panel):
    """Add to the sums of a tile the products of its rows, those past the ones skipped."""
    for i in range(rows.times):
        place = rows.first + skipped * rows.apart + i * rows.ahead
        for _ in range(rows.K):
            sums = multiply_rows(sums, place, rows.apart, load_vector(panel, sums[0]))
            place += rows.step
            panel += BYTES
    return sums


@jit
def side_by_side(like, start, row, rows, panel, others, other_panel, out, wide, beside):
    """Compute one row with all panels at once: alone, each product would wait for the one before it."""
    z = vector_at(start, like)
    y = vector_at(start + beside if start else 0, like)
    out += row * BETWEEN
    if wide == 2:
        row_of((z, y), row, rows, panel, others, other_panel, out, beside)
        return
    x = vector_at(start + 2 * beside if start else 0, like)
    if wide == 3:
        row_of((z, y, x), row, rows, panel, others, other_panel, out, beside)
    else:
        w = vector_at(start + 3 * beside if start else 0, like)
        row_of((z, y, x, w), row, rows, panel, others, other_panel, out, beside)


@jit
def row_of(sums, row, rows, panel, others, other_panel, out, beside):
    """Add the products of one row to what the sums begin with, and store them."""
    for _ in range(2):
        sums = add_wide(sums, row, rows, panel, beside)
        rows, panel = others, other_panel
    store_rows(sums, out, BYTES)


@jit
def add_wide(sums, row, rows, panel, beside):
    """Add to the sums of one row its products with panels side by side."""
    for i in range(rows.times):
        place = rows.first + row * rows.apart + i * rows.ahead
        for _ in range(rows.K):
            sums = multiply_panels(sums, place, panel, beside)
            place += rows.step
            panel += BYTES
    return sums
