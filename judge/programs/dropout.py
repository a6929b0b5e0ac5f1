"""Programs that show what is wrong with dropout: random sums over many draws, of the candidate and of `torch.nn`."""

from __future__ import annotations

from collections.abc import Iterator

from ..core.candidate import Implementation
from ..core.case import RANDOM_SUM, ROWS, Case
from ..core.misbehaviour import SameDropout
from ..core.verdict import Finding
from .forms import asserted, beside
from .snippets import Lines, Snippets, indented

REFERENCE_ROWS = 4 * ROWS
BOTH = (1 + ROWS / REFERENCE_ROWS) ** 0.5  # what sampling both adds to the interval of one sample
BOTH_FOR_DISTANCE = BOTH / (1 + 1 / 16) ** 0.5  # that interval has a reference of 16 times the rows in it

SAMPLES = f"sums(candidate, {ROWS}), sums(truth, {REFERENCE_ROWS})"
HALVES = {"halves": f"[s[:{ROWS // 2}], s[{ROWS // 2}:]]", "neighbours": "[s[::2], s[1::2]]"}


def of_distribution(
    case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1
) -> Iterator[str]:
    """Compare a statistic over many draws; without a finding, two calls that are to drop other elements."""
    if finding is None:
        yield same_mask(case, implementation, str(SameDropout()))
    else:
        yield distribution(case, implementation, finding)


def distribution(case: Case, implementation: Implementation, finding: Finding) -> str:
    """Compare a moment, a correlation or the distribution of a random sum, of which each row of a batch is a draw."""
    quantity, _, of = finding.tensor.partition(" of ")
    both, p = of == "output and input.grad", case.spec.dropout
    factor = 1.0
    if both:  # in units of standard deviations, where the judge's have the deviation of a factor in them
        lines = [
            f"(s, g), (s_0, g_0) = {SAMPLES}",
            "came, expected = s / s_0.std() + g / g_0.std(), s_0 / s_0.std() + g_0 / g_0.std()",
            f"error = (came.{quantity[:3]}() - expected.{quantity[:3]}()).abs().item()".replace(".mea()", ".mean()"),
        ]
        factor = BOTH * ((1 - p) / p) ** (1.0 if quantity == "variance" else 0.5)
    elif quantity == "mean":  # that of a layer linear in its factors is what it gives without dropout
        lines = [f"error = (sums(candidate, {ROWS}).mean() - sums(truth.eval(), 1).mean()).abs().item()"]
    elif quantity == "variance":
        lines = [f"came, expected = {SAMPLES}", "error = (came.var() - expected.var()).abs().item()"]
        factor = BOTH
    elif quantity == "correlation":
        pair, of = HALVES[of.partition(" ")[0]], "output"
        lines = [f"s = sums(candidate, {ROWS})", f"error = torch.corrcoef(torch.stack({pair}))[0, 1].abs().item()"]
    else:
        lines = [
            f"samples = {SAMPLES}",
            "noise = [0.05 * samples[1].std() * torch.randn(len(s), dtype=torch.float64) for s in samples]",
            "came, expected = ((s + n).sort().values for s, n in zip(samples, noise))",
            "points = torch.cat([came, expected])",
            "shares = [torch.searchsorted(s, points, right=True) / len(s) for s in (came, expected)]",
            "error = (shares[0] - shares[1]).abs().max().item()",
        ]
        factor = BOTH_FOR_DISTANCE
    lines.append(asserted(finding, finding.limit * factor))
    return _program(case, implementation, of, lines)


def same_mask(case: Case, implementation: Implementation, text: str) -> str:
    """Call the layer twice, which is to drop other elements."""
    lines = [f"first, second = (sums(candidate, {ROWS}) for _ in range(2))"]
    return _program(case, implementation, "output", [*lines, f"assert not torch.equal(first, second), {text!r}"])


def _program(case: Case, implementation: Implementation, of: str, lines: Lines) -> str:
    snippets = beside(case, implementation)
    seed = [f"torch.manual_seed({case.dropout_seed})"]
    function = ["def sums(layer, rows):", *indented(_sums(snippets, of))]
    return snippets.program(function, snippets.layers(), [*seed, *lines])


def _sums(snippets: Snippets, of: str) -> Lines:
    """Run a layer on `rows` copies of the case's one row and sum up what it gives, a number for each row."""
    case = snippets.case
    first, packed = case.spec.batch_first and case.lengths is None, case.lengths is not None
    turned = ".transpose(0, 1)" if first else ""
    lines = []
    for name in ("input", *snippets.states()):
        variable = "x" if name == "input" else name
        drawn = snippets.drawn(name).removesuffix(".transpose(0, 1)")
        lines.append(f"{variable} = {drawn}.expand(-1, rows, -1).clone()")
    lines[0] += ".requires_grad_()"
    x = f"torch.nn.utils.rnn.pack_padded_sequence(x, [{case.seq_len}] * rows)" if packed else f"x{turned}"
    state = ", ".join(snippets.states())
    state = f", ({state})" if case.spec.kind == "lstm" and state else f", {state}" if state else ""
    lines.append(f"output = layer({x}{state})[0]{turned}")
    lines += ["output = torch.nn.utils.rnn.pad_packed_sequence(output)[0]"] if packed else []
    cotangent = snippets.drawn("output").removesuffix(".transpose(0, 1)")
    lines.append(f"of_output = (output * {cotangent}).sum((0, 2))")
    if of not in SUMS:
        k, shape = _position(case, of.removesuffix(".grad"))
        weights = f"draw({case.seed + RANDOM_SUM + k}, {', '.join(map(str, shape))})"
        gradient = snippets.gradient(of.removesuffix(".grad"))
        return [
            *lines,
            "of_output.sum().backward()",
            f"gradient = {gradient}",
            f"return (gradient * {weights}).sum() / rows",
        ]
    if of == "output":
        return [*lines, "return of_output.detach()"]
    weights = f"draw({case.seed + RANDOM_SUM}, {case.seq_len}, 1, {case.spec.input_size})"
    of_gradient = f"(x.grad * {weights}).sum((0, 2))"
    returned = of_gradient if of == "input.grad" else f"of_output.detach(), {of_gradient}"
    return [*lines, "of_output.sum().backward()", f"return {returned}"]


SUMS = ("output", "input.grad", "output and input.grad")


def _position(case: Case, name: str) -> tuple[int, tuple[int, ...]]:
    shapes = case.spec.parameter_shapes()
    return 1 + list(shapes).index(name), shapes[name]
