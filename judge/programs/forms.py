"""Which programs show a wrong tensor: against `torch.nn` in float64 on the CPU, or against another run of the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from ..core.candidate import Implementation
from ..core.case import DIRECTION, EARLIER_CALL, ROWS, UNCHANGED_CALLS, Case
from ..core.misbehaviour import SameDropout
from ..core.verdict import Finding
from .parts import beside, inside
from .rendering import rendered

DROPPING_TRIES = 20  # of two calls that may happen to drop the same

REFERENCE_ROWS = 4 * ROWS
BOTH = (1 + ROWS / REFERENCE_ROWS) ** 0.5  # what sampling both adds to the interval of one sample
BOTH_FOR_DISTANCE = BOTH / (1 + 1 / 16) ** 0.5  # that interval has a reference of 16 times the rows in it
ASKED_ONCE = 0.83  # a distance's interval that chance leaves once in 10^6, over the judge's, once in 5 * 10^8
PAIRS = {"halves": f"[s[:{ROWS // 2}], s[{ROWS // 2}:]]", "neighbours": "[s[::2], s[1::2]]"}

# Writes programs that show a wrong tensor (of None: make the calls), each call repeated so often.
Form = Callable[[Case, Implementation, Finding | None, int], Iterator[str]]


def against_builtin(
    case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1
) -> Iterator[str]:
    """Compare a tensor with that of `torch.nn`, without the backward pass where it is none of it."""
    if finding is None or drops(case):  # no layer owes anyone the random numbers of torch.nn
        return
    if not finding.tensor.endswith(".grad") and tries == 1:
        yield from like_builtin(replace(case, cotangents=(), frozen=()), implementation, finding)
    yield from like_builtin(case, implementation, finding, tries)


def like_builtin(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
    """Compare a tensor with that of `torch.nn`, which drops the same elements."""
    if finding is not None and speaks(case, finding):
        yield rendered("compared", inside(case, implementation), finding=finding, tries=tries)


def speaks(case: Case, finding: Finding | None) -> bool:
    """Whether `torch.nn` with other weights gives what the case's dialect gives."""
    dialect, bias = case.spec.dialect, finding is not None and "bias_hh" in finding.tensor
    if "reset before" in dialect or ("forget bias + 1" in dialect and not case.spec.bias):
        return False
    return not ("one bias" in dialect and bias)


def drops(case: Case) -> bool:
    """Whether dropout leaves the case's results to chance."""
    return case.modes[-1] == "train" and 0 < case.spec.dropout < 1 and case.spec.num_layers > 1


def related(relation: str) -> Form:
    """Return the form that compares two runs of the candidate, in the template of that name."""

    def form(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
        plain = replace(case.spec, dialect=())  # of which `truth` has no part
        parts = beside(replace(case, spec=plain, cotangents=(), frozen=()), implementation)
        alone = replace(parts, case=replace(parts.case, lengths=None))
        finding = finding or Finding("output", 0.0, 0.0)
        yield rendered(relation, parts, tensor=finding.tensor, finding=finding, alone=alone, tries=tries)

    return form


def again(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
    """Compare two calls of the candidate."""
    if finding is not None:
        parts = inside(replace(case, modes=case.modes[-1:]), implementation)
        tries = max(tries, DROPPING_TRIES) if drops(case) else tries
        yield rendered("repeated", parts, finding=finding, tries=tries)


def both_passes(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
    """Compare a gradient after two forward passes, those of the first pass's arguments and the second's."""
    parts = inside(replace(case, modes=case.modes[-1:]), implementation, " + offset")
    for of in () if not speaks(case, finding) else (0, 1) if finding is not None else (0,):
        yield rendered("two_losses", parts, finding=finding, of=of, second=EARLIER_CALL, tries=tries)


def second_derivative(
    case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1
) -> Iterator[str]:
    """Compare a second derivative with that of `torch.nn`."""
    parts = inside(replace(case, modes=case.modes[-1:]), implementation)
    shifted = replace(case, seed=case.seed + DIRECTION, input_scale=1.0, states=case.states.replace("zeros", "given"))
    arguments = [name for name in parts.given if case.wants_grad(name)]
    directions = replace(parts, case=shifted)
    if speaks(case, finding):
        more = {"arguments": arguments, "directions": directions, "tries": tries}
        yield rendered("second_order", parts, finding=finding, **more)


def the_output(case: Case, implementation: Implementation) -> list[str]:
    """Return what is changed where that is the output."""
    return ["output"]


def what_is_read(case: Case, implementation: Implementation) -> list[str]:
    """Return the arguments and the weights of a layer, each to be changed: another layer with another seed."""
    own = implementation.from_builtin is None  # an adapter's layer has parameters of other names
    ends = tuple(case.spec.suffixes(case.seed % case.spec.num_layers)) if own else ()
    weights = [name for name in case.spec.parameter_shapes() if name.startswith("weight") and name.endswith(ends)]
    given = inside(case, implementation).given
    return given[case.lengths is not None :] + (weights if own else [])  # packing copies the input


def changed_in_place(changed: Callable[[Case, Implementation], list[str]]) -> Form:
    """Return the form that compares a gradient after a tensor was changed in place with that of `torch.nn` without."""

    def form(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
        if finding is not None and speaks(case, finding):
            parts = inside(replace(case, modes=case.modes[-1:]), implementation)
            for name in changed(case, implementation):
                yield rendered("changed_in_place", parts, finding=finding, tries=tries, changed=name)

    return form


def of_distribution(
    case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1
) -> Iterator[str]:
    """Compare a statistic of random sums over many draws of dropout, each a row of a batch, with that of `torch.nn`.

    The statistic is a moment, a correlation or the distribution; without a finding, two calls are to drop other
    elements.
    """
    if not speaks(case, finding):
        return
    quantity, _, of = finding.tensor.partition(" of ") if finding is not None else ("same", "", "output")
    p, limit, pair = case.spec.dropout, finding.limit if finding is not None else 0.0, ""
    if quantity == "correlation":
        pair, of = PAIRS[of.partition(" ")[0]], "output"
    elif of == "output and input.grad":  # in units of standard deviations; the judge's are those of a factor
        limit *= BOTH * ((1 - p) / p) ** (1.0 if quantity == "variance" else 0.5)
    elif quantity == "all masks":  # the reference is another, and only a layer that was found wrong is asked
        quantity, limit = "distribution", ASKED_ONCE * limit
    elif quantity in ("variance", "distribution"):
        limit *= BOTH if quantity == "variance" else BOTH_FOR_DISTANCE
    parts = beside(case, implementation)
    parameter = of.removesuffix(".grad") if of.removesuffix(".grad") in case.spec.parameter_shapes() else ""
    time_major = replace(case, spec=replace(case.spec, batch_first=False), lengths=None)
    yield rendered(
        "statistic",
        parts,
        **{"finding": finding, "quantity": quantity, "of": of, "pair": pair, "limit": limit, "parameter": parameter},
        steps=replace(parts, case=time_major),
        seed=finding and finding.seed,
        moment={"variance": "var"}.get(quantity, quantity),
        rows=ROWS,
        calls=UNCHANGED_CALLS,
        reference_rows=REFERENCE_ROWS,
        says=str(SameDropout()),
    )
