"""The engine of Triton kernels, for CUDA: a tile of the batch goes through all steps in one program."""

from .engine import Triton

__all__ = ["Triton"]
