"""The verdict on one case: every tensor of the candidate beside the oracle's, within its bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...reference.builtin import builtin_layer
from ...reference.oracle import Inputs
from ...reference.rounding import Array
from .bounds import CONFIRMING_COPIES, COPIES, Bound, bounds, oracle_dtype
from .candidate import Implementation
from .case import Case, tensors_of, weights_of
from .guard import BUILTIN, on_behalf_of, watched
from .misbehaviour import Misbehaviour, Raised

Results = dict[str, Tensor | None]

BEYOND_DOUBT = 1e3  # more perturbed runs never widened a spread so far, but for a relu that takes the other slope


@dataclass(frozen=True)
class Finding:
    """One tensor of the candidate against its bound: absolute error, absolute limit.

    The seed is that of the weights of a random sum over a gradient, where such a sum is judged.
    """

    tensor: str
    error: float
    limit: float
    seed: int | None = None

    @property
    def ratio(self) -> float:
        """Error over limit; above 1 the tensor is wrong."""
        if self.error <= self.limit:
            return self.error / self.limit if self.limit else 0.0
        return self.error / self.limit if self.limit else float("inf")

    def describe(self) -> str:
        """Return tensor, error, ratio and limit as a clause."""
        if self.error == float("inf"):
            return f"{self.tensor} is NaN, inf or -inf elsewhere than it should be"
        return f"{self.tensor} is off by {self.error:.3g}, {self.ratio:.3g} times the bound {self.limit:.3g}"


@dataclass
class Verdict:
    """What the judge says of one implementation on one case.

    Args:
        implementation: what was judged.
        case: what it was run on.
        findings: every tensor that could be judged, the worst first.
        undetermined: tensors for which the dtype carries no digits in this case.
        left_out: gradients that an adapter does not give: not compared.
        misbehaviour: what no right layer does: an exception, a wrong shape, a changed argument.
        builtin_fault: what the built-in does wrong in this case, None where it is right.
        builtin_refusal: what the built-in raises in this case: then nothing is compared with it.
        refused: what the candidate raises in this case where the built-in raises too: unsupported, not wrong.
        likeness: what the implementation is, where that has a name: another dialect, or another order of gates.
        broken: why nothing is said of the implementation: the traceback of an exception of the judge's own, or what
            the adapter did.
    """

    implementation: Implementation
    case: Case
    findings: list[Finding] = field(default_factory=list)
    undetermined: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    misbehaviour: Misbehaviour | None = None
    builtin_fault: str | None = None
    builtin_refusal: str | None = None
    refused: str | None = None
    likeness: str | None = None
    broken: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the implementation did nothing wrong in this case."""
        return (
            self.misbehaviour is None and self.broken is None and all(finding.ratio <= 1 for finding in self.findings)
        )

    def message(self) -> str:
        """Return what is wrong, for a person: tensor, error, bound, ratio and case."""
        fault = self.findings[0].describe() if self.misbehaviour is None else self.misbehaviour
        lines = [f"{self.implementation.name} is not the {self.case.spec.kind.upper()} of the equations: {fault}"]
        others = [f.tensor for f in self.findings[1:] if f.ratio > 1]
        if others and self.misbehaviour is None:
            lines.append(f"  also off: {', '.join(others)}")
        if self.likeness is not None:
            lines.append(f"  this is {self.likeness}")
        lines.append(f"  case: {self.case.describe()}")
        if self.builtin_fault is not None:
            lines.append(f"  the built-in is at fault too: {self.builtin_fault}")
        return "\n".join(lines)


class ParityError(AssertionError):
    """An implementation is wrong; the message names the tensor, and a note holds the reproducer.

    Args:
        verdict: what is wrong.
        reproducer: a program that shows it.
        plain: whether it is plain PyTorch; else it asks the judge again.
        unwritten: the exception that kept a plain program from being written or run, in one line.
    """

    def __init__(self, verdict: Verdict, reproducer: str, plain: bool = True, unwritten: str | None = None) -> None:
        super().__init__(verdict.message())
        self.add_note(f"\n{reproducer}")
        self.verdict = verdict
        self.reproducer = reproducer
        self.plain, self.unwritten = plain, unwritten


def compared(
    verdict: Verdict,
    of_candidate: Callable[[], Results],
    of_builtin: Callable[[], Results],
    limits_of: Callable[[int], dict[str, Bound]],
) -> Verdict:
    """Fill a verdict with what comes of comparing the results of candidate and built-in with their bounds.

    Args:
        verdict: to fill.
        of_candidate: runs the candidate, which may misbehave.
        of_builtin: runs the built-in.
        limits_of: the bound of every tensor from so many perturbed runs of the oracle.
    """
    with exact_products():
        try:
            found = of_candidate()
        except Misbehaviour as error:
            verdict.misbehaviour = error
            return verdict
        # Other dialects than its own the built-in does not speak.
        beside = {} if verdict.case.spec.dialect else _attempted(of_builtin, verdict)
    limits = limits_of(COPIES)
    verdict.findings, of_beside = compare(limits, found), compare(limits, beside)
    if in_doubt([*verdict.findings, *of_beside], verdict.case):
        limits = limits_of(CONFIRMING_COPIES)
        verdict.findings, of_beside = compare(limits, found), compare(limits, beside)
    verdict.undetermined = [name for name, bound in limits.items() if not bound.determined]
    verdict.left_out = [name for name in limits if name not in found]
    for finding in of_beside[:1]:
        verdict.builtin_fault = finding.describe() if finding.ratio > 1 else None
    return verdict


def _attempted(of_builtin: Callable[[], Results], verdict: Verdict) -> Results:
    """Run the built-in and return its results; none where it misbehaves, which the verdict then says."""
    try:
        with on_behalf_of(BUILTIN):
            return of_builtin()
    except Raised as error:  # cuDNN has no gradients in eval mode, and no second derivatives
        verdict.builtin_refusal = str(error)
    except Misbehaviour as error:
        verdict.builtin_fault = str(error)
    return {}


def in_doubt(findings: Sequence[Finding], case: Case) -> bool:
    """Whether one is over its bound by no more than what four perturbed runs may have missed, and more would show."""
    most = math.inf if case.spec.nonlinearity == "relu" else BEYOND_DOUBT
    return any(1 < finding.ratio < most for finding in findings)


def loaded_builtin(case: Case) -> nn.RNNBase:
    """Build the built-in of a case's spec with the case's weights."""
    builtin = builtin_layer(case.spec, device=case.device, dtype=case.dtype)
    builtin.load_state_dict(weights_of(case))
    return builtin


def candidate(implementation: Implementation, builtin: nn.RNNBase, case: Case) -> nn.Module:
    """Build the layer under judgement with the built-in's weights.

    Raises:
        Misbehaviour: it cannot be built.
    """
    with watched("building it"):
        return implementation.build(builtin, case.spec)


def case_bounds(
    case: Case, copies: int = COPIES, masks: list[Array] | None = None, offset: int = 0
) -> dict[str, Bound]:
    """Return the oracle's bound for every tensor that a run of the case gives.

    Args:
        case: what was drawn.
        copies: K, the perturbed runs.
        masks: dropout's factors on the output of every layer but the last, (seq_len, batch, features) each.
        offset: added to the seeds of input, states and cotangents.
    """
    return _bounds_without_masks(case, copies, offset) if masks is None else _case_bounds(case, copies, masks, offset)


def _case_bounds(case: Case, copies: int, masks: list[Array] | None, offset: int) -> dict[str, Bound]:
    weights, tensors = in_numpy(weights_of(case), case), in_numpy(tensors_of(case, offset), case)
    inputs, planted = inputs_of(case, tensors, masks), case.nonfinite is not None
    found = bounds(case.spec, weights, inputs, case.dtype, copies=copies, seed=case.seed, planted=planted)
    return {name: bound for name, bound in found.items() if is_asked_for(name, case)}


@lru_cache(maxsize=4)
def _bounds_without_masks(case: Case, copies: int, offset: int) -> dict[str, Bound]:
    # Several layers are judged on one case, and a case by several checks.
    return _case_bounds(case, copies, None, offset)


def in_numpy(tensors: Mapping[str, Tensor], case: Case) -> dict[str, Array]:
    """Return tensors as arrays in the oracle's precision for the case, in their own memory where they have it."""
    return {name: tensor.numpy().astype(oracle_dtype(case.dtype), copy=False) for name, tensor in tensors.items()}


def inputs_of(case: Case, tensors: Mapping[str, Array], masks: list[Array] | None = None) -> Inputs:
    """Return what the oracle is run on: input, states and cotangents of a case."""
    cotangents = {name: tensors[name] for name in case.cotangents} or None
    return Inputs(tensors["input"], tensors.get("h_0"), tensors.get("c_0"), case.lengths, cotangents, masks)


def is_asked_for(name: str, case: Case) -> bool:
    """Whether a run of the case gives the tensor of that name: a result, or a gradient that is required."""
    of = name.removesuffix(".grad")
    if of == name:
        return case.final_states or name == "output"
    if of in ("h_0", "c_0"):
        return case.wants_grad(of) and case.states != "absent"
    return case.input_grad if of == "input" else of not in case.frozen


def compare(limits: Mapping[str, Bound], found: Mapping[str, Tensor | None]) -> list[Finding]:
    """Compare every tensor that can be judged with the oracle's and return the findings, the worst first.

    A gradient that is None counts as zero: a loss that does not depend on a tensor gives it none. What an adapter
    leaves out is not compared. Where the dtype carries no digits, a tensor has to be finite at least, if the truth is.
    """
    findings = []
    for name, bound in limits.items():
        if name not in found:
            continue
        came = found[name]
        if bound.determined:
            findings.append(Finding(name, error(bound.truth, came), bound.limit))
        elif bound.finite and came is not None and not came.isfinite().all():
            findings.append(Finding(name, float("inf"), bound.limit))
    return sorted(findings, key=lambda finding: -finding.ratio)


def error(truth: Array, tensor: Tensor | None) -> float:
    """Return the largest absolute difference; infinite where NaN, inf or -inf is not where the truth has it."""
    if tensor is None:
        return float(np.abs(truth).max(initial=0))
    values = tensor.to(torch.float64).numpy()
    if values.shape != truth.shape:
        return float("inf")
    with np.errstate(invalid="ignore", over="ignore"):
        difference = values - truth
        apart = float(np.abs(difference, out=difference).max(initial=0))
    if math.isfinite(apart):
        return apart
    finite = np.isfinite(truth)
    if not np.array_equal(values[~finite], truth[~finite], equal_nan=True) or not np.isfinite(values[finite]).all():
        return float("inf")
    return float(np.abs(values[finite] - truth[finite]).max(initial=0))


@contextmanager
def exact_products() -> Iterator[None]:
    """Have float32 products computed in float32, not in TF32 or bfloat16, for both sides while a verdict is formed."""
    with ExitStack() as restoring:
        for owner, name, exact in _lowered():
            restoring.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, exact)
        yield


def _lowered() -> list[tuple[Any, str, Any]]:
    """Return the settings that lower the precision of products, each with the value under which they are exact."""
    backends = torch.backends
    newer = [backends.mkldnn.matmul, backends.mkldnn.rnn]  # type: ignore[attr-defined]
    older: list[tuple[Any, str, Any]] = []
    if torch.cuda.is_available():
        try:
            older = [
                (owner, "allow_tf32", False) for owner in (backends.cuda.matmul, backends.cudnn) if owner.allow_tf32
            ]
        except RuntimeError:  # once the newer interface was used, the older one does not always answer
            newer += [backends.cuda.matmul, backends.cudnn.rnn]
    return older + [
        (owner, "fp32_precision", "ieee") for owner in newer if owner.fp32_precision not in ("none", "ieee")
    ]
