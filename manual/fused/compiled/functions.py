"""Sigmoid and tanh of vectors, from one exponential: within two units in the last place of float32.

e^x = 2^n (1 + q), where n is the whole number next to x / ln 2 and q = e^r - 1 with r = x - n ln 2, |r| <= ln(2)/2.
That is taken from its Taylor series, up to the power at which the rest is below half a unit in the last place.
"""

from .memory import jit
from .vectors import exponent, fma, lanes, magnitude, where_less, with_sign

LOG2_E = 1.4426950408889634


@jit
def series(r):
    """e^r - 1 = r + r^2 (1/2! + r/3! + r^2/4! + ...) for |r| <= ln(2)/2."""
    if lanes(r) == 16:
        p = fma(r, 1 / 5040, 1 / 720)
    else:
        p = fma(r, 1 / 6227020800, 1 / 479001600)
        p = fma(p, r, 1 / 39916800)
        p = fma(p, r, 1 / 3628800)
        p = fma(p, r, 1 / 362880)
        p = fma(p, r, 1 / 40320)
        p = fma(p, r, 1 / 5040)
        p = fma(p, r, 1 / 720)
    p = fma(p, r, 1 / 120)
    p = fma(p, r, 1 / 24)
    p = fma(p, r, 1 / 6)
    p = fma(p, r, 1 / 2)
    return fma(p, r * r, r)


@jit
def split(x):
    """2^n, as `exponent` takes n, and q, for which e^x = 2^n (1 + q).

    A number as large as 1.5 * 2^m has no bits for fractions where the mantissa has m: adding it rounds. ln 2 is taken
    off in two parts, the first of few bits, so that its product with n is exact.
    """
    if lanes(x) == 16:
        large = fma(x, LOG2_E, 12582912.0)
        n = large - 12582912.0
        r = fma(n, 2.12194440e-4, fma(n, -0.693359375, x))
    else:
        large = fma(x, LOG2_E, 6755399441055744.0)
        n = large - 6755399441055744.0
        r = fma(n, -1.90821492927058770e-10, fma(n, -6.93147180369123816490e-01, x))
    return large, series(r)


@jit
def over_sum(a, z):
    """a / (1 + z) for z from 0 on: what rounding the sum loses is put back where it is as much of the quotient."""
    sum = 1 + z
    lost = where_less(z, 1.0, (sum - 1) - z, 0.0)
    y = a / sum
    return fma(y, lost, y)


@jit
def sigmoid(x):
    """1 / (1 + e^-x): by way of z = e^-|x|, which cannot overflow; scaled at first, for it may be no normal number."""
    x_minus = with_sign(x, -1.0)
    if lanes(x) == 16:
        large, q = split(where_less(x_minus, -105.0, -105.0, x_minus))
        s = exponent(large, 64)
        z = fma(s, q, s) * 2.0**-64
    else:
        large, q = split(where_less(x_minus, -746.0, -746.0, x_minus))
        s = exponent(large, 512)
        z = fma(s, q, s) * 2.0**-512
    return over_sum(where_less(x, 0.0, z, 1.0), z)


@jit
def tanh(x):
    """(e^2|x| - 1) / (e^2|x| + 1) with the sign of x: exact at both ends, where |x| is small and where tanh is 1."""
    y = magnitude(x + x)
    most = 18.1 if lanes(x) == 16 else 38.2
    large, q = split(where_less(most, y, most, y))
    s = exponent(large, -1)
    half = fma(s, q, s - 0.5)  # of e^2|x| - 1
    return with_sign(over_sum(half, half), x)


@jit
def relu(x):
    """x, or 0 where x < 0."""
    return where_less(x, 0.0, 0.0, x)
