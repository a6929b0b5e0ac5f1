"""Compile the Triton kernels that `compare` times on CUDA, in several processes; Triton keeps them on disk.

python -m rnn_parity.bench.kernels
"""

import multiprocessing
import os
from dataclasses import replace
from itertools import product

from rnn_parity.bench.arms import KINDS, STEPS, make_arm, make_call, make_input, products, why_no_triton
from rnn_parity.bench.compare import PRECISIONS, settings, sweeps

CUDA = "cuda"


def compile_all(kind: str, dtype: str, tf32: bool) -> int:
    """Run each kernel of a kind and precision once, on little data, and return how many layers that took."""
    of_them = [s for s in (*settings(CUDA), *sweeps(CUDA)) if (s.kind, s.dtype, s.tf32) == (kind, dtype, tf32)]
    small = (replace(s, shape=s.shape._replace(B=2, T=2), graph=False) for s in of_them)
    chosen = [s for s in dict.fromkeys(small) if not why_no_triton(s, CUDA)]
    with products(tf32):
        for setting, step in product(chosen, STEPS):
            make_call(step, make_arm("triton", setting, CUDA), *make_input(setting, CUDA))()
    return len(chosen)


def main() -> None:
    """Compile, and say for how many layers."""
    todo = [(kind, *precision) for kind, precision in product(KINDS, PRECISIONS)]
    with multiprocessing.get_context("spawn").Pool(min(len(todo), os.cpu_count() or 1)) as pool:
        print(f"kernels of {sum(pool.starmap(compile_all, todo))} layers compiled")


if __name__ == "__main__":
    main()
