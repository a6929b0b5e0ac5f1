"""How far two correct float64 evaluations may lie apart, where exact equality is not due."""

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps


def step_bound(terms: int) -> float:
    """For one step of a cell whose gates are sums of this many products and biases, every factor in [-1, 1].

    Such a sum is at most `terms` and is evaluated within e = terms**2 u. Sigmoid and tanh have slope 1 at
    most. The worst case is the GRU's n, which multiplies a sum by r and so adds terms * e; the rest of any
    cell adds less than 4 e. Two evaluations may lie twice that apart.
    """
    return 2 * (terms + 4) * terms**2 * (EPS / 2)


def assert_within(actual: Tensor, expected: Tensor, bound: float) -> None:
    """Fail if any element is further than `bound` from the expected one, with both figures."""
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max().item()
    assert error <= bound, f"{error:.3g} apart, {bound:.3g} allowed"


def assert_same_digits(actual: Tensor, expected: Tensor) -> None:
    """Fail if half of float64's digits differ.

    For tests of what is computed, not of how: there a mistake shows in the first digits, while rounding over
    a few steps with weights and inputs of order 1 takes the last three or four.
    """
    assert_within(actual, expected, EPS**0.5 * expected.abs().max().item())
