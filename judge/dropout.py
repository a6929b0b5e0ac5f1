"""Dropout, whatever random numbers it takes: no right layer owes anyone the built-in's stream.

With p = 1 and in eval the result is certain, and the oracle gives it. In between, weights so small that the upper
layer is linear in its input make the mean and the variance over many draws those of independent factors that are
0 with probability p and else 1 / (1 - p).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from ..reference.equations import Array
from ..reference.oracle import Inputs, evaluate
from .cases import Case, draw, tensors_of, weights_of
from .implementation import Implementation
from .running import Misbehaviour, call, run_tensors
from .verdict import Finding, Verdict, candidate, case_bounds, exact_products, judge, loaded_builtin

ROWS = 4096  # draws, one for each row of a batch
GRADIENT_SUM = 300  # seed of the sum over the input's gradient, counted from the case's
Z = 6.0  # half-width of the intervals in standard errors: a right layer misses one 2e-9 of the time


def certain(implementation: Implementation, case: Case) -> Verdict:
    """Judge a case whose dropout leaves nothing to chance: eval, p = 0, or p = 1 (zeros into the upper layers)."""
    if case.modes[-1] == "train" and case.spec.dropout == 1:
        return judge(implementation, case, [np.zeros((1, 1, 1))] * (case.spec.num_layers - 1))
    return judge(implementation, case)


def like_builtin(implementation: Implementation, case: Case) -> Verdict:
    """Judge a layer that says it takes its random numbers in the built-in's order: padded input, on the CPU.

    The built-in draws once for the output of every layer but the last, (seq_len, batch, features).
    """
    spec = case.spec
    shape = (case.seq_len, case.batch, spec.num_directions * spec.state_size)
    ones = torch.ones(shape, dtype=case.dtype)
    with global_seed(case):
        masks = [torch.nn.functional.dropout(ones, spec.dropout) for _ in range(spec.num_layers - 1)]
        return judge(implementation, case, [mask.double().numpy() for mask in masks])


def same_seed(implementation: Implementation, case: Case) -> Verdict:
    """Two calls after the same seed give the same result; dropout's factors widen the bound."""
    verdict = Verdict(implementation, case)
    tensors = tensors_of(case)
    with global_seed(case), exact_products():
        try:
            layer = candidate(implementation, loaded_builtin(case), case)
            first, second = (
                run_tensors(layer, case, tensors) for _ in range(2) if torch.manual_seed(case.dropout_seed or 0)
            )
        except Misbehaviour as error:
            verdict.misbehaviour = str(error)
            return verdict
    factor = (1 - case.spec.dropout) ** (1 - case.spec.num_layers)
    for name, bound in case_bounds(case).items():
        if bound.determined:
            apart = (first[name].double() - second[name].double()).abs().max().item()
            verdict.findings.append(Finding(name, apart, 2 * factor * bound.limit))
    verdict.findings.sort(key=lambda finding: -finding.ratio)
    return verdict


def distribution(implementation: Implementation, case: Case) -> Verdict:
    """Compare mean and variance over many draws with those of dropout with rescaling.

    Judged are S, a random sum over the output, G, a random sum over the input's gradient, and both together in units
    of their standard deviations: a backward pass that drops other elements than the forward pass shows there.
    """
    verdict = Verdict(implementation, case)
    try:
        samples = _samples(implementation, case)
    except Misbehaviour as error:
        verdict.misbehaviour = str(error)
        return verdict
    constants, slopes = _linear_in_masks(case)
    p = case.spec.dropout
    for name in samples:
        variance = p / (1 - p) * (slopes[name] ** 2).sum()
        if variance == 0:
            verdict.undetermined.append(name)
            continue
        # Fourth cumulant of a sum of independent scaled Bernoulli variables: how far a sample variance strays.
        excess = p * (1 - 6 * p * (1 - p)) / (1 - p) ** 3 * (slopes[name] ** 4).sum()
        mean = constants[name] + slopes[name].sum()
        of_mean = Z * np.sqrt(variance / ROWS)
        of_variance = Z * np.sqrt(max(0.0, excess + 2 * variance**2) / ROWS) + of_mean**2
        verdict.findings += [
            Finding(f"mean of {name}", float(abs(samples[name].mean() - mean)), float(of_mean)),
            Finding(f"variance of {name}", float(abs(samples[name].var() - variance)), float(of_variance)),
        ]
    verdict.findings.sort(key=lambda finding: -finding.ratio)
    return verdict


def _samples(implementation: Implementation, case: Case) -> dict[str, Array]:
    """Run the layer once on ROWS copies of the case's one row: each row is a draw."""
    wide = replace(case, batch=ROWS)
    tensors = {name: tensor.expand(-1, ROWS, -1) for name, tensor in tensors_of(case).items()}
    with global_seed(case), exact_products():
        layer = candidate(implementation, loaded_builtin(case), case)
        found = call(layer, wide, tensors)
    gradient = found["input.grad"]
    found["input.grad"] = torch.zeros_like(tensors["input"]) if gradient is None else gradient
    arrays = {name: tensor.detach().cpu().double().numpy() for name, tensor in found.items() if tensor is not None}
    return _with_both(_sums(arrays, case), _linear_in_masks(case)[1])


def _linear_in_masks(case: Case) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return each sum without the dropped layer's output, and its slope in every factor, from the oracle."""
    spec = case.spec
    features = spec.num_directions * spec.state_size
    factors = case.seq_len * features
    masks = np.concatenate([np.zeros((1, factors)), np.eye(factors)]).T.reshape(case.seq_len, features, -1)
    rows = {name: np.repeat(tensor.numpy(), factors + 1, axis=1) for name, tensor in tensors_of(case).items()}
    inputs = Inputs(
        rows["input"],
        rows.get("h_0"),
        rows.get("c_0"),
        None,
        {"output": rows["output"]},
        [masks.swapaxes(1, 2)],
    )
    weights = {name: weight.numpy() for name, weight in weights_of(case).items()}
    sums = _sums(evaluate(spec, weights, inputs), case)
    slopes = {name: values[1:] - values[0] for name, values in sums.items()}
    return (
        _with_both({name: values[0] for name, values in sums.items()}, slopes),
        _with_both(slopes, slopes),
    )


def _sums(results: dict[str, Array], case: Case) -> dict[str, Array]:
    """Return S and G of every row, taken with one random tensor each."""
    of_output = tensors_of(case)["output"].numpy()
    of_gradient = draw(case.seed + GRADIENT_SUM, case.seq_len, 1, case.spec.input_size).numpy()
    return {
        "output": (results["output"] * of_output).sum(axis=(0, 2)),
        "input.grad": (results["input.grad"] * of_gradient).sum(axis=(0, 2)),
    }


def _with_both(sums: dict[str, Array], slopes: dict[str, Array]) -> dict[str, Array]:
    units = {name: np.sqrt((slopes[name] ** 2).sum()) for name in ("output", "input.grad")}
    if not all(units.values()):
        return sums
    return sums | {"output and input.grad": sum(sums[name] / unit for name, unit in units.items())}


@contextmanager
def global_seed(case: Case) -> Iterator[None]:
    """Seed PyTorch's global generators from the case, and leave them as they were."""
    devices = [] if case.device == "cpu" else [torch.device(case.device)]
    with torch.random.fork_rng(devices):
        torch.manual_seed(case.dropout_seed or 0)
        yield
