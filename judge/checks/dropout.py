"""Dropout, whatever random numbers it takes: no right layer owes anyone the built-in's stream.

With p = 1 and in eval the result is certain, and the oracle gives it. In between, weights so small that the upper
layer is linear in its input make the mean and the variance over many draws those of independent factors that are
0 with probability p and else 1 / (1 - p).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from scipy import stats

from ...reference.oracle import Inputs, evaluate
from ...reference.rounding import Array
from ..core.bounds import FACTOR, unit_roundoff
from ..core.call import call, parameter_gradients, run_tensors, set_mode
from ..core.candidate import Implementation
from ..core.case import GRADIENT_SUMS, RANDOM_SUM, ROWS, UNCHANGED_CALLS, Case, draw, tensors_of, weights_of
from ..core.check import Check
from ..core.misbehaviour import Misbehaviour, SameDropout
from ..core.settings import seed_generators
from ..core.verdict import Finding, Verdict, candidate, exact_products, loaded_builtin
from ..programs import forms
from ..programs.writing import by
from .equations import judge

REFERENCE = 16  # times the rows, of what a sample is compared with
SMALL_SHARE = 1e-3  # of a sum, below which dropout hardly moves it
Z = 6.0  # half-width of the intervals in standard errors: a right layer misses one 2e-9 of the time
FALSE_ALARM = 2e-9  # and this often the distance between two samples of one distribution


Sums = dict[str, Array]
Seeds = dict[str, int]  # of the weights of each sum over a gradient


def certain(implementation: Implementation, case: Case) -> Verdict:
    """Judge a case whose dropout leaves nothing to chance: eval, one layer, or p = 1 (zeros into the upper layers)."""
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


def distribution(implementation: Implementation, case: Case) -> Verdict:
    """Compare mean and variance over many draws with those of dropout with rescaling.

    Judged are S, a random sum over the output, G, a random sum over the input's gradient, both together in units of
    their standard deviations (a backward pass that drops other elements than the forward pass shows there), the mean
    of a random sum over each parameter's gradient, and whether there are rows that every call gives alike.
    """
    verdict = Verdict(implementation, case)
    seeds, constants, slopes = _linear_in_masks(case)
    if not _is_linear(case, seeds, constants, slopes):
        verdict.undetermined = list(slopes)
        return verdict
    try:
        samples, later = _samples(implementation, case, seeds, varies=bool(slopes["output"].any()))
    except Misbehaviour as error:
        verdict.misbehaviour = error
        return verdict
    constants, samples = _with_both(constants, slopes), _with_both(samples, slopes)
    slopes = _with_both(slopes, slopes)
    for name, sample in samples.items():
        found = _moments(name, sample, constants[name], slopes[name], case.spec.dropout)
        seed = seeds.get(name, seeds.get("input.grad"))  # of the sum of both, its gradient's
        verdict.findings += [replace(finding, seed=seed) for finding in found]
        if not slopes[name].any():
            verdict.undetermined.append(name)
    if slopes["output"].any():
        verdict.findings.append(_distance(samples["output"], constants["output"], slopes["output"], case))
        verdict.findings += _correlations(samples["output"])
        verdict.findings += _unchanged(later, constants["output"], slopes["output"], case)
    verdict.findings.sort(key=lambda finding: -finding.ratio)
    return verdict


def each_boundary(implementation: Implementation, case: Case) -> Verdict:
    """Compare a random sum over the output with the oracle's, where every layer's output has a mask of its own.

    One mask for all of them, or one that spares a layer, gives the sum another distribution.
    """
    verdict = Verdict(implementation, case)
    try:
        samples, _ = _samples(implementation, replace(case, cotangents=("output",)), {}, varies=False)
    except Misbehaviour as error:
        verdict.misbehaviour = error
        return verdict
    reference = _reference(case)
    if reference.std() > SMALL_SHARE * np.abs(reference).max():
        verdict.findings = [replace(_apart(samples["output"], reference, case), tensor="all masks of output")]
    else:
        verdict.undetermined = ["distribution of output"]
    return verdict


def _reference(case: Case) -> Array:
    """Return the sum for so many rows of independent masks, from the oracle."""
    rows = 4 * ROWS
    tensors = {name: np.repeat(tensor.numpy(), rows, axis=1) for name, tensor in tensors_of(case).items()}
    _, masks = some_masks(replace(case, batch=rows), 1)
    inputs = Inputs(tensors["input"], tensors.get("h_0"), tensors.get("c_0"), masks=masks)
    weights = {name: weight.numpy() for name, weight in weights_of(case).items()}
    return np.asarray((evaluate(case.spec, weights, inputs)["output"] * tensors["output"]).sum(axis=(0, 2)))


def some_masks(case: Case, draws: int) -> Iterator[list[Array]]:
    """Yield dropout's factors on the output of every layer but the last: nothing dropped first, then so many draws."""
    spec, p, random = case.spec, case.spec.dropout, np.random.default_rng(case.seed)
    shape = (case.seq_len, case.batch, spec.num_directions * spec.state_size)
    for share in (0.0, *[p] * draws):
        yield [(random.random(shape) >= share) / (1 - p) for _ in range(spec.num_layers - 1)]


def three_layers(case: Case) -> Case:
    """Give a case two boundaries at least and one row, with weights that carry each mask to the output."""
    case = dropping((0.3, 0.5, 0.7)[case.seed % 3], "train", layers=3)(case)
    spec, seq_len = replace(case.spec, num_layers=3), min(case.seq_len, 3)
    one_row = replace(case, spec=spec, seq_len=seq_len, batch=1, batched=True, lengths=case.lengths and (seq_len,))
    plain = replace(one_row, weight_scale=1.0, input_scale=1.0, cotangents=("output",), plain_sum=False)
    return replace(plain, state_layout="contiguous", cell_layout="contiguous")


def _moments(name: str, sample: Array, constant: Array, slope: Array, p: float) -> list[Finding]:
    """Compare the moments of a sample with those of constant + slope @ factors."""
    if not slope.any():
        return []
    variance = p / (1 - p) * (slope**2).sum()
    # A sum over the rows rounds, which counts only where dropout hardly moves it.
    rounding = FACTOR * ROWS * unit_roundoff(torch.float64) * (abs(constant) + np.abs(slope).sum())
    of_mean = Z * np.sqrt(variance / ROWS) + rounding
    findings = [Finding(f"mean of {name}", float(abs(sample.mean() - constant - slope.sum())), float(of_mean))]
    if sample.size == ROWS:
        # Fourth cumulant of a sum of independent scaled Bernoulli variables: how far a sample variance strays.
        excess = p * (1 - 6 * p * (1 - p)) / (1 - p) ** 3 * (slope**4).sum()
        of_variance = Z * np.sqrt(max(0.0, excess + 2 * variance**2) / ROWS) + of_mean**2
        findings.append(Finding(f"variance of {name}", float(abs(sample.var() - variance)), float(of_variance)))
    return findings


def _correlations(sample: Array) -> list[Finding]:
    """Compare rows that a shared draw would tie together, the halves of the batch and neighbours, with independence."""
    half = len(sample) // 2
    pairs = {"halves": (sample[:half], sample[half:]), "neighbours": (sample[::2], sample[1::2])}
    found = {
        name: abs(float(np.corrcoef(a, b)[0, 1])) if a.std() and b.std() else 0.0 for name, (a, b) in pairs.items()
    }
    limit = Z / np.sqrt(ROWS / 2)
    return [Finding(f"correlation of {name} of the batch", value, limit) for name, value in found.items()]


def _unchanged(later: list[Array], constant: Array, slope: Array, case: Case) -> list[Finding]:
    """Count the rows that every call gives alike, where chance makes next to none of them.

    Of calls without gradients alone: a right layer may round otherwise with them.
    """
    p, smallest = case.spec.dropout, 100 * unit_roundoff(torch.float64) * (abs(constant) + np.abs(slope).sum())
    factors = np.count_nonzero(np.abs(slope) > smallest)  # that the sum shows
    of_one = p ** len(later) + (1 - p) ** len(later)  # the chance that it never changes
    if ROWS * of_one**factors > FALSE_ALARM:
        return []
    same = np.logical_and.reduce([later[0] == again for again in later[1:]])
    return [Finding("unchanged rows of output", float(same.sum()), 0.0)]


def _distance(sample: Array, constant: Array, slope: Array, case: Case) -> Finding:
    """Compare the distribution of a sample with that of constant + slope @ factors: Kolmogorov and Smirnov's distance.

    Both are blurred by a twentieth of a standard deviation, so that rounding moves no atom past another.
    """
    p = case.spec.dropout
    factors = (np.random.default_rng(case.seed).random((REFERENCE * ROWS, len(slope))) >= p) / (1 - p)
    return _apart(sample, constant + factors @ slope, case)


def _apart(came: Array, drawn: Array, case: Case) -> Finding:
    random, blur = np.random.default_rng(case.seed + 1), 0.05 * drawn.std()
    blurred = [values + blur * random.standard_normal(len(values)) for values in (drawn, came)]
    # The limit of a two-sample test at this rate of false alarms.
    limit = stats.kstwobign.isf(FALSE_ALARM) * np.sqrt(1 / len(drawn) + 1 / len(came))
    return Finding("distribution of output", float(stats.ks_2samp(*blurred, method="asymp").statistic), float(limit))


def _samples(implementation: Implementation, case: Case, seeds: Seeds, varies: bool) -> tuple[Sums, list[Array]]:
    """Run the layer on ROWS copies of the case's one row: each row is a draw, and another call draws anew.

    Returns:
        The sums of the first call, and the sum over the output of each later one.
    """
    wide = replace(case, batch=ROWS, lengths=case.lengths and case.lengths * ROWS)
    tensors = {name: tensor.expand(-1, ROWS, -1) for name, tensor in tensors_of(case).items()}
    builtin = loaded_builtin(case)
    with global_seed(case), exact_products():
        layer = candidate(implementation, builtin, case)
        set_mode(layer, "train")
        found = call(layer, wide, tensors)
        gradients = parameter_gradients(implementation, layer, case)
        later = [run_tensors(layer, wide, tensors)["output"] for _ in range(UNCHANGED_CALLS if varies else 0)]
    if varies and torch.equal(found["output"].cpu(), later[0]) and bool(found["output"].std(dim=1).any()):
        raise SameDropout()
    found |= {f"{name}.grad": gradient for name, gradient in gradients.items()}
    shapes = {"input.grad": tensors["input"]}
    shapes |= {f"{name}.grad": p for name, p in builtin.named_parameters() if name in gradients}
    for name, like in shapes.items():
        found[name] = torch.zeros_like(like) if found[name] is None else found[name]
    given = {name: tensor for name, tensor in found.items() if tensor is not None}  # none for a state that is ignored
    sums = _sums({name: tensor.detach().cpu().double().numpy() for name, tensor in given.items()}, case, seeds)
    return sums, [_sums({"output": again.double().numpy()}, case, {})["output"] for again in later]


def _linear_in_masks(case: Case) -> tuple[Seeds, Sums, Sums]:
    """Return the seeds of the sums, each sum without what the last layer is given, and its slope in every factor of it.

    All from the oracle. With a third layer the factors below matter 1e-4 times as much to the output, and are taken
    as 1.
    """
    features = case.seq_len * case.spec.num_directions * case.spec.state_size
    results = list(_results_at(case, np.concatenate([np.zeros((1, features)), np.eye(features)])))
    seeds = _seeds(case, *results)
    without, *with_one = (_sums(result, case, seeds) for result in results)
    constants = {name: value.sum() for name, value in without.items()}
    slopes = {name: np.array([one[name].sum() - constants[name] for one in with_one]) for name in constants}
    return seeds, constants, slopes


def _seeds(case: Case, without: dict[str, Array], *with_one: dict[str, Array]) -> Seeds:
    """Choose the weights of the sums over gradients: none where there is a third layer.

    Of several sums over the input's gradient the one that moves most with the sum over the output: the smaller their
    correlation, the less it tells whether both passes dropped the same. Two that move against each other would leave
    of their sum what is not linear in the factors.
    """
    if case.spec.num_layers > 2:
        return {}  # gradients go through both products of factors
    of_output = tensors_of(case)["output"].numpy()
    output = np.array([((one["output"] - without["output"]) * of_output).sum() for one in with_one])
    gradient = np.array([(one["input.grad"] - without["input.grad"]).ravel() for one in with_one])

    def correlation(seed: int) -> float:
        slope = gradient @ draw(seed, case.seq_len, 1, case.spec.input_size).numpy().ravel()
        return float(slope @ output / (np.linalg.norm(slope) or 1.0))

    of_input = max((case.seed + role for role in GRADIENT_SUMS), key=correlation)
    parameters = {
        f"{name}.grad": case.seed + RANDOM_SUM + k for k, name in enumerate(case.spec.parameter_shapes(), start=1)
    }
    return {"input.grad": of_input} | parameters


def _is_linear(case: Case, seeds: Seeds, constants: Sums, slopes: Sums) -> bool:
    """Whether no relu comes near its kink: some other factors give what the slopes say."""
    if case.spec.nonlinearity != "relu":
        return True
    p, random = case.spec.dropout, np.random.default_rng(case.seed)
    factors = (random.random((8, len(slopes["output"]))) >= p) / (1 - p)
    return all(
        abs(found[name].sum() - constants[name] - row @ slopes[name]) <= 0.01 * np.abs(row * slopes[name]).sum()
        for row, result in zip(factors, _results_at(case, factors), strict=True)
        for found in [_sums(result, case, seeds)]
        for name in ("output", "input.grad")
        if name in slopes
    )


def _results_at(case: Case, factors: Array) -> Iterator[dict[str, Array]]:
    """Yield what the oracle gives for each row of factors on what the last layer is given."""
    spec, tensors = case.spec, {name: tensor.numpy() for name, tensor in tensors_of(case).items()}
    features = spec.num_directions * spec.state_size
    weights = {name: weight.numpy() for name, weight in weights_of(case).items()}
    below = [np.ones((case.seq_len, 1, features))] * (spec.num_layers - 2)
    for row in factors:
        inputs = Inputs(
            tensors["input"],
            tensors.get("h_0"),
            tensors.get("c_0"),
            cotangents={"output": tensors["output"]},
            masks=[*below, row.reshape(case.seq_len, 1, features)],
        )
        yield evaluate(spec, weights, inputs)


def _sums(results: dict[str, Array], case: Case, seeds: Seeds) -> Sums:
    """Return S, of every row, and the sums over gradients: G of every row, the others in units of a row."""
    rows, weights = results["output"].shape[1], tensors_of(case)["output"].numpy()
    sums = {"output": (results["output"] * weights).sum(axis=(0, 2))}
    for name, seed in seeds.items():
        if name == "input.grad":
            weights = draw(seed, case.seq_len, 1, case.spec.input_size).numpy()
            sums[name] = (results[name] * weights).sum(axis=(0, 2))
        else:
            weights = draw(seed, *results[name].shape).numpy()
            sums[name] = (results[name] * weights).sum(keepdims=True) / rows
    return sums


def _with_both(sums: Sums, slopes: Sums) -> Sums:
    units = {name: np.sqrt((slopes[name] ** 2).sum()) for name in ("output", "input.grad") if name in slopes}
    if len(units) < 2 or not all(units.values()):
        return sums
    return sums | {"output and input.grad": sum(sums[name] / unit for name, unit in units.items())}


@contextmanager
def global_seed(case: Case) -> Iterator[None]:
    """Seed PyTorch's global generators from the case, and leave them as they were."""
    device = torch.device(case.device)
    devices, kind = ([], "cuda") if device.type == "cpu" else ([device], device.type)
    with torch.random.fork_rng(devices, device_type=kind):
        seed_generators(case.dropout_seed or 0, case.device)
        yield


def dropping(p: float, *modes: str, layers: int = 1) -> Callable[[Case], Case]:
    """Give a case dropout, and so many layers at least: one alone drops nothing."""

    def adapt(case: Case) -> Case:
        spec = replace(case.spec, dropout=p, num_layers=max(layers, case.spec.num_layers))
        return replace(case, spec=spec, modes=modes, dropout_seed=case.seed)

    return adapt


def alone(case: Case) -> Case:
    """Give one layer dropout, which acts between layers and so does nothing."""
    one = replace(case.spec, num_layers=1)
    frozen = tuple(name for name in case.frozen if name in one.parameter_shapes())
    return dropping(0.5, "train")(replace(case, spec=one, frozen=frozen))


def linear(case: Case) -> Case:
    """Make the upper layers linear in their input, and the loss a sum over the output alone, for a batch of one row."""
    case = dropping((0.2, 0.5, 0.8)[case.seed % 3], "train")(case)
    seq_len, packed = min(case.seq_len, 3), case.lengths is not None
    layers = max(2, min(3, case.spec.num_layers))
    # Without a bias a third layer is given the product of both factors, and not their sum to 1e-4; and a relu is at
    # its kink.
    relu = case.spec.nonlinearity == "relu"
    bias = case.spec.bias or layers > 2 or relu
    spec = replace(case.spec, num_layers=layers, bias=bias)
    one_row = replace(case, spec=spec, seq_len=seq_len, batch=1, batched=True, lengths=(seq_len,) if packed else None)
    # The smaller the weights, the fewer relus come near their kink.
    scale = 1e-7 if relu else 1e-4
    plain = replace(one_row, weight_scale=scale, input_scale=1.0, cotangents=("output",), plain_sum=False, frozen=())
    plain = replace(plain, input_grad=True, input_layout="contiguous")
    return replace(plain, state_layout="contiguous", cell_layout="contiguous")


EACH_BOUNDARY = Check(each_boundary, by(forms.of_distribution))
CERTAIN = Check(certain, by(forms.against_builtin))
LIKE_BUILTIN = Check(like_builtin, by(forms.like_builtin))
DISTRIBUTION = Check(distribution, by(forms.of_distribution))
