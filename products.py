"""Products of rows with panels of weights: what every step spends its time on.

A panel is a matrix (K, lanes), whose row k is multiplied by the number k of a row. A tile takes up to six rows at once:
their sums stay in registers, and each vector of the panel is loaded once for all of them. Each row's sum is the same, to
the bit, however many rows there are beside it.
"""

from typing import NamedTuple

from .memory import jit, load_vector, multiply_rows, store_rows
from .vectors import BYTES

ROWS = 6  # of a tile: as many sums as the registers of AVX2 hold beside the vector and the number


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
def tile(sums, skipped, rows, panel, others, other_panel, out, apart):
    """Add the products of one tile to what the sums begin with, and store them."""
    sums = add(sums, skipped, rows, panel)
    sums = add(sums, skipped, others, other_panel)
    store_rows(sums, out + skipped * apart, apart)


@jit
def multiply(n, z, rows, panel, others, other_panel, out, apart):
    """Store z + rows * panel + others * other_panel for n rows, `apart` bytes from each other.

    They are split into tiles that differ by one row at most.
    """
    done = 0
    tiles = (n + ROWS - 1) // ROWS
    while done < n:
        count = (n - done + tiles - 1) // tiles
        if count == 6:
            tile((z, z, z, z, z, z), done, rows, panel, others, other_panel, out, apart)
        elif count == 5:
            tile((z, z, z, z, z), done, rows, panel, others, other_panel, out, apart)
        elif count == 4:
            tile((z, z, z, z), done, rows, panel, others, other_panel, out, apart)
        elif count == 3:
            tile((z, z, z), done, rows, panel, others, other_panel, out, apart)
        elif count == 2:
            tile((z, z), done, rows, panel, others, other_panel, out, apart)
        else:
            tile((z,), done, rows, panel, others, other_panel, out, apart)
        done += count
        tiles -= 1
