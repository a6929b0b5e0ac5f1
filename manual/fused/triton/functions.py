"""Sigmoid, tanh and relu of blocks in float32."""

import triton
import triton.language as tl


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def tanh(x):
    """1 - 2 e^-2|x| / (1 + e^-2|x|) with the sign of x, which would lose digits where |x| is small.

    There it is x + x^3 p(x^2), with a p that has the least relative error, below 3e-9, for |x| <= 0.6.
    """
    y = tl.abs(x)
    small = tl.exp(-2 * y)
    large = 1 - 2 * small / (1 + small)
    z = x * x
    p = ((-0.0058951612 * z + 0.020795975) * z - 0.053783831) * z + 0.13331924
    return tl.where(y < 0.6, x + x * (z * (p * z - 0.33333298)), tl.where(x < 0, -large, large))


@triton.jit
def relu(x):
    """x, or 0 where x < 0; NaN stays."""
    return tl.where(x < 0, 0.0, x)
