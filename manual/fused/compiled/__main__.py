"""Compile every kernel now, for an image or a machine that is set up: `python -m rnn_parity.manual.fused.compiled`."""

from .kernels import BACKWARD, FORWARD, kept_in, kernel

for dtype in ("float32", "float64"):
    for kernels in (FORWARD, BACKWARD):
        kernel(next(iter(kernels)), dtype)
folder = kept_in()
print(f"kernels are in {folder}" if folder else "no folder can be written: each process compiles its own")
