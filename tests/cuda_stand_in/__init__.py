"""A stand-in for a CUDA device: PyTorch's CUDA build believes in one, on a machine that has none.

`runtime.c`, preloaded, takes the place of CUDA's runtime: its device memory is the host's, and its kernels do nothing.
`host_values.py` then computes what each operator would have, on the CPU and in the same memory, and `cudnn.py` what
cuDNN's layers would. All else is PyTorch's own: the caching allocator, streams, generators, autograd's threads,
capture.

What it cannot tell is in docs/cuda.md: no time, no rounding of a GPU's, no race, nothing of a kernel. Its device is
named "stand-in, no GPU", and so are all reports of what ran on it.
"""
