"""The engine of PyTorch operations: any device and dtype, one step after the other."""

from .engine import Operations

__all__ = ["Operations"]
