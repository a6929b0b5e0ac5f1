"""Long sequences: whether time and memory grow with the steps and no faster."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from rnn_parity.bench.arms import LeftOut, Setting, Shape, Truth, make_arm, make_call, make_input, products
from rnn_parity.bench.limit import limit
from rnn_parity.bench.memory import peak_bytes
from rnn_parity.bench.rounds import Call, ratio, timed_rounds
from rnn_parity.judge.core.candidate import one_line

BATCH, INPUT, HIDDEN = 16, 28, 64


def measure_long(kind: str, arms: Sequence[str], lengths: Sequence[int], device: str, seconds: float) -> dict[str, Any]:
    """Time a training step of each arm at each length, all of them within the same rounds.

    Args:
        kind: RNN, GRU or LSTM.
        arms: "builtin" first; of the fused layer, the checkpointed one goes with it; manual is too slow.
        lengths: numbers of steps, rising.
        device: "cpu" or "cuda".
        seconds: how long to take rounds.

    Returns:
        For each arm and length the time, its ratio to the built-in's and the peak; for each arm its time per step at
        the last length over that at the first, and the bytes that each further step takes; the limit of each length,
        on the CPU; and what is wrong with an arm that was not timed.
    """
    names = [name for name in arms if name in ("builtin", "operations", "fused", "triton")]
    names += ["checkpointed"] * ("fused" in arms)
    calls: dict[tuple[str, int], Call] = {}
    wrong: dict[str, str] = {}
    with products(tf32=False):
        for name in list(names):
            try:
                calls |= {(name, T): make_checked(name, setting_of(kind, T), device) for T in lengths}
            except LeftOut:
                names.remove(name)
            except Exception as error:  # as in `compare.make_calls`; without the built-in there is nothing to compare
                if name == "builtin":
                    raise
                wrong[name] = one_line(error)
                names.remove(name)
        rounds = timed_rounds(calls, seconds, device, patience=math.inf)
        peaks = {key: peak_bytes(call, device) for key, call in calls.items()}
    found = {}
    for name in names:
        per_step = {T: [duration / T for duration in rounds[name, T]] for T in lengths}
        found[name] = {
            "seconds": [float(np.nanmedian(rounds[name, T])) for T in lengths],
            "ratio": [ratio(rounds[name, T], rounds["builtin", T])._asdict() for T in lengths],
            "peak_bytes": [peaks[name, T] for T in lengths],
            "flat": ratio(per_step[lengths[-1]], per_step[lengths[0]])._asdict(),
            "bytes_per_step": round(float(np.polyfit(lengths, [peaks[name, T] for T in lengths], 1)[0]), 3),
        }
    described = {"setting": setting_of(kind, 0).name, "sizes": [BATCH, INPUT, HIDDEN], "steps": list(lengths)}
    limits = [limit(setting_of(kind, T), "training")["seconds"] for T in lengths] if device == "cpu" else None
    return {**described, "threads": torch.get_num_threads(), "limit_seconds": limits, "arms": found, "wrong": wrong}


def setting_of(kind: str, T: int) -> Setting:
    return Setting(kind, Shape(BATCH, T, INPUT, HIDDEN))


def make_checked(name: str, setting: Setting, device: str) -> Call:
    call = make_call("training", make_arm(name, setting, device), *make_input(setting, device))
    if setting.shape.T <= 1024:  # float64 beyond takes as long as all rounds; the code is the same at any length
        Truth(setting, "training", device).assert_equal_results(call())
    return call
