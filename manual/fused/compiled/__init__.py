"""The engine that numba compiles, for the CPU: a block of the batch goes through all steps with no barrier."""

from .engine import Compiled

__all__ = ["Compiled"]
