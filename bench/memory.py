"""The memory that a call needs at its peak, above what was allocated before it."""

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], Any], device: str = "cpu") -> int:
    """Measure the peak of a call, its results included.

    On the CPU it is the highest running total of what PyTorch's allocator gave and took back, which the profiler
    records; the resident set would be too coarse, as freed memory stays with the process.

    Args:
        call: has run before, so that nothing is set up in it.
        device: "cpu" or "cuda".
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        results = call()
        torch.cuda.synchronize()
        del results
        return torch.cuda.max_memory_allocated() - before
    gc.collect()  # what is freed during the call is to be the call's own
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        results = call()
    del results
    # The raw events: profiled.events() would build a tree of thousands of operators first.
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    total = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        peak = max(peak, total)
    return peak
