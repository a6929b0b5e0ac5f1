"""What is taken as true: the specification, PyTorch's built-ins and the NumPy oracle."""

from .spec import KINDS, LayerSpec

__all__ = ["KINDS", "LayerSpec"]
