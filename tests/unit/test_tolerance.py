"""The bound: it follows the dtype and the conditioning of the case, and judges nothing that has no digits."""

import numpy as np
import pytest
import torch

from rnn_parity.judge.core.bounds import (
    CONFIRMING_COPIES,
    POOL,
    Bound,
    Perturbed,
    longdouble_is_wider,
    unit_roundoff,
)
from rnn_parity.judge.core.case import Case, tensors_of
from rnn_parity.judge.core.verdict import case_bounds, compare, error
from rnn_parity.reference import LayerSpec

SPEC = LayerSpec("gru", 3, 4)
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def bounds_of(spec: LayerSpec = SPEC, dtype: torch.dtype = torch.float64, **options: object) -> dict[str, Bound]:
    case = Case(spec, dtype, "cpu", 5, 2, seed=3, cotangents=("output", "h_n"))
    return case_bounds(case, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_spread_is_a_few_units_of_the_dtype_for_a_well_conditioned_case(dtype: torch.dtype) -> None:
    if dtype == torch.float64 and not longdouble_is_wider():
        pytest.skip("longdouble is no wider than float64 on this platform")
    for name, bound in bounds_of(dtype=dtype).items():
        units = bound.spread / (unit_roundoff(dtype) * bound.peak)
        assert 0.05 < units < 50, name
        assert bound.determined


def test_same_seed_same_bound() -> None:
    assert [b.limit for b in bounds_of().values()] == [b.limit for b in bounds_of().values()]


def test_more_copies_find_a_larger_spread_on_the_whole() -> None:
    few, many = bounds_of(), bounds_of(copies=64)
    assert np.mean([many[name].spread / few[name].spread for name in few]) > 1


def test_the_first_copy_is_exact() -> None:
    x = np.ones((5, 1, 2, 3), np.longdouble)
    rounded = Perturbed(torch.float64)(x.copy())
    assert np.array_equal(rounded[0], x[0])
    assert (rounded[1:] != 1).all()
    assert np.abs(rounded - 1).max() <= unit_roundoff(torch.float64)


def test_exact_zeros_stay_exact() -> None:
    for dtype in DTYPES:
        assert not Perturbed(dtype)(np.zeros((5, 1, 2, 3))).any()


@pytest.mark.parametrize("shape", [(5, 1, 200, 400), (30, 5, 2, 60, 20), (2, 3, 1, 300, 300)], ids=str)
def test_noise_larger_than_its_pool_begins_again(shape: tuple[int, ...]) -> None:
    x = Perturbed(torch.float32)(np.ones(shape))
    exact, noisy = (x[:, :1], x[:, 1:]) if x.ndim == 5 else (x[:1], x[1:])
    assert (exact == 1).all()
    assert 0 < np.abs(noisy - 1).max() <= unit_roundoff(torch.float32)
    assert np.array_equal(noisy.reshape(-1)[POOL:], noisy.reshape(-1)[:-POOL])


def test_a_bound_keeps_no_other_run_in_memory() -> None:
    assert all(bound.truth.base is None for bound in bounds_of().values())


def test_a_tensor_without_digits_is_not_judged() -> None:
    truth = np.array([1e-3])
    assert Bound(truth, 1e-4, torch.float32).determined
    assert not Bound(truth, 4e-4, torch.float32).determined
    assert not Bound(truth, 1e-9, torch.float32, within_range=False).determined
    assert Bound(np.zeros(1), 0.0, torch.float32).determined


def test_overflow_on_the_way_leaves_every_gradient_undetermined() -> None:
    spec = LayerSpec("rnn", 2, 6, nonlinearity="relu")
    case = Case(spec, torch.float16, "cpu", 40, 2, seed=1, weight_scale=2.0, cotangents=("output",))
    assert not any(bound.determined for bound in case_bounds(case).values())


def test_wrong_shapes_and_nan_are_infinitely_wrong() -> None:
    assert error(np.zeros(3), torch.zeros(2)) == float("inf")
    assert error(np.zeros(1), torch.tensor([torch.nan])) == float("inf")
    assert error(np.array([2.0]), None) == 2.0


def test_an_error_of_one_part_in_ten_thousand_is_seen_in_float64_and_float32() -> None:
    for dtype in (torch.float64, torch.float32):
        limits = bounds_of(dtype=dtype)
        found = {name: torch.from_numpy(np.asarray(b.truth * 1.0001, np.float64)) for name, b in limits.items()}
        assert all(finding.ratio > 1 for finding in compare(limits, found))


def test_tensors_hold_what_the_dtype_can_hold() -> None:
    case = Case(SPEC, torch.bfloat16, "cpu", 2, 2, seed=0)
    for tensor in tensors_of(case).values():
        assert torch.equal(tensor, tensor.bfloat16().double())


def test_the_runs_that_confirm_a_fault_cross_a_kink_that_rounding_comes_near() -> None:
    # One run in 200 crossed it, and torch.nn: what 64 runs do not show would have been called a fault.
    few, many = Perturbed(torch.float16, 4), Perturbed(torch.float16, CONFIRMING_COPIES)

    def crossed(rnd: Perturbed, spread: float) -> np.ndarray:
        runs = 1 + spread * np.linspace(0, 1, rnd.copies)
        return rnd.kink(runs[:, None, None, None]).ravel() <= 0

    assert crossed(many, 0.3)[1:].any()
    assert not crossed(many, 0.3)[0]
    assert not crossed(many, 0.03).any()
    assert not crossed(few, 0.3).any()
