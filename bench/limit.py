"""The least time a call could take: that of its matrix products alone, at the rate the machine takes products."""

import time
from functools import cache
from typing import Any

import torch

from rnn_parity.bench.arms import Setting
from rnn_parity.bench.rounds import timed

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
SIDE = 1024  # of the square matrices whose product tells the rate
SECONDS = 2.0  # how long the best of such products is looked for


def limit(setting: Setting, step: str) -> dict[str, Any]:
    """Return the multiply-adds of a call, and the seconds that they take at the machine's rate on the CPU."""
    count = multiply_adds(setting, step)
    return {"multiply_adds": count, "seconds": count / rate(setting.dtype, torch.get_num_threads())}


def multiply_adds(setting: Setting, step: str) -> int:
    """Count the multiply-adds of a call's products.

    A product W x of the forward pass has two more in the backward pass, for the gradients of W and of x; that of the
    input is not asked for.
    """
    I, H = setting.shape[2:]  # noqa: E741
    directions, out = 1 + setting.bidirectional, setting.proj_size or H
    gates = GATES[setting.kind] * H
    of_input = directions * gates * I
    above = (setting.num_layers - 1) * directions * gates * directions * out
    of_state = setting.num_layers * directions * (gates * out + H * setting.proj_size)
    forward = of_input + above + of_state
    return int(setting.lengths.sum()) * (forward if step == "forward" else 3 * forward - of_input)


@cache
def rate(dtype: str, threads: int) -> float:
    """Measure the multiply-adds a second of the best product of two square matrices.

    Args:
        dtype: of the matrices.
        threads: what `torch.get_num_threads` says; each number has a rate of its own.
    """
    matrix = torch.randn(SIDE, SIDE).to(getattr(torch, dtype))
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        best = min(best, timed(lambda: torch.mm(matrix, matrix), 1, "cpu"))
    return float(SIDE**3 / best)
