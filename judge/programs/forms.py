"""Programs that show a wrong tensor: against `torch.nn` in float64 on the CPU, or against another run of the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from ..core.candidate import Implementation
from ..core.case import DIRECTION, EARLIER_CALL, Case
from ..core.verdict import Finding
from .snippets import Lines, Snippets, added, indented, shortest

DROPPING_TRIES = 20  # of two calls that may happen to drop the same

# Writes the lines that leave the two tensors to be compared in `one` and `other`.
Relation = Callable[[Snippets, str], Lines]


def against_builtin(
    case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1
) -> Iterator[str]:
    """Compare a tensor with that of `torch.nn`, without the backward pass where it is none of it."""
    if finding is None or drops(case):  # no layer owes anyone the random numbers of torch.nn
        return
    if not finding.tensor.endswith(".grad") and tries == 1:
        yield compared(replace(case, cotangents=(), frozen=()), implementation, finding)
    yield compared(case, implementation, finding, tries)


def like_builtin(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
    """Compare a tensor with that of `torch.nn`, which drops the same elements."""
    if finding is not None:
        yield compared(case, implementation, finding, tries)


def drops(case: Case) -> bool:
    """Whether dropout leaves the case's results to chance."""
    return case.modes[-1] == "train" and 0 < case.spec.dropout < 1


def through(relation: Relation) -> Callable[..., Iterator[str]]:
    """Return the form that compares two runs of the candidate."""

    def form(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
        yield related(case, implementation, finding or Finding("output", 0.0, 0.0), relation)

    return form


def again(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
    """Compare two calls of the candidate."""
    if finding is not None:
        yield repeated(case, implementation, finding, max(tries, DROPPING_TRIES) if drops(case) else tries)


def both_passes(case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1) -> Iterator[str]:
    """Compare a gradient after two forward passes, those of the first pass's arguments and the second's."""
    yield two_losses(case, implementation, finding, of_second=False)
    if finding is not None:
        yield two_losses(case, implementation, finding, of_second=True)


def changed_in_place(
    case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1
) -> Iterator[str]:
    """Written anew elsewhere."""
    yield from ()


def second_derivative(
    case: Case, implementation: Implementation, finding: Finding | None, tries: int = 1
) -> Iterator[str]:
    """Compare a second derivative with that of `torch.nn`."""
    yield second_order(case, implementation, finding)


def compared(case: Case, implementation: Implementation, finding: Finding, tries: int = 1) -> str:
    """Compare one tensor of a case with that of `torch.nn`, once or several times."""
    snippets = inside(case, implementation)
    apart = _often(difference(snippets, finding), tries)
    return snippets.program(returning(snippets, finding.tensor), prepared(snippets), apart)


def repeated(case: Case, implementation: Implementation, finding: Finding, tries: int = 1) -> str:
    """Compare one tensor of a case with that of a second call of the same layer, once or several times."""
    snippets = inside(replace(case, modes=case.modes[-1:]), implementation)
    lines = [f"one, other = {result(snippets)}, {result(snippets)}", "error = (one - other).abs().max().item()"]
    body = returned(snippets, finding.tensor)
    if finding.tensor.endswith(".grad"):
        body = ["layer.zero_grad()", *body]
    return snippets.program(function(snippets, body), prepared(snippets), _often([*lines, asserted(finding)], tries))


def _often(lines: Lines, tries: int) -> Lines:
    return lines if tries == 1 else [f"for _ in range({tries}):  # the fault comes and goes", *indented(lines)]


def second_order(case: Case, implementation: Implementation, finding: Finding | None) -> str:
    """Compare the gradient of a sum over gradients; of None, make it."""
    snippets = inside(case, implementation)
    shifted = replace(case, seed=case.seed + DIRECTION, input_scale=1.0, states=case.states.replace("zeros", "given"))
    directions = replace(snippets, case=shifted)
    arguments = [name for name in ("input", *snippets.states()) if case.wants_grad(name)]
    names = [] if implementation.from_builtin else [n for n in case.spec.parameter_shapes() if n not in case.frozen]
    chosen = f" if name not in {list(case.frozen)}" if case.frozen else ""
    of_names = " for k, (name, p) in enumerate(truth.named_parameters())"
    body = [*snippets.frozen("layer"), *snippets.arguments(), f"{snippets.targets} = {snippets.called('layer')}"]
    body += [f"w_{name} = {snippets.drawn(name)}.requires_grad_()" for name in case.cotangents]
    body.append(f"leaves = [{', '.join('x' if name == 'input' else name for name in arguments)}]")
    body += [f"v = [{', '.join(map(directions.drawn, arguments))}]"]
    if names:
        drawn = f"draw({added(shifted.seed, ' + k')}, *p.shape){snippets.to}"
        body += [f"leaves += [layer.get_parameter(name){of_names}{chosen}]", f"v += [{drawn}{of_names}{chosen}]"]
    weights = ", ".join(f"w_{name}" for name in case.cotangents)
    body += [
        f"leaves += [{weights}]  # has no direction in v",
        *(f"loss {'+' if k else ''}= {term}" for k, term in enumerate(map(snippets.weighted, case.cotangents))),
        "first = torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True)",
        "product = sum(((g * d).sum() for g, d in zip(first, v) if g is not None), 0 * loss)",
        "product.backward()",
    ]
    if finding is None:
        return snippets.program(function(snippets, body), prepared(snippets), [result(snippets)])
    if finding.tensor.endswith(".cotangent.grad"):
        body.append(f"return w_{finding.tensor.removesuffix('.cotangent.grad')}.grad")
    else:
        body.append(f"return {snippets.gradient(finding.tensor.removesuffix('.grad.grad'))}")
    return snippets.program(function(snippets, body), prepared(snippets), difference(snippets, finding))


def two_losses(case: Case, implementation: Implementation, finding: Finding | None, of_second: bool) -> str:
    """Compare a gradient after two forward passes, the first of them followed by two backward passes.

    Args:
        case: of both passes, the second on other tensors.
        implementation: the candidate.
        finding: None where no tensor is wrong.
        of_second: whether the second pass's arguments are meant, and not the first's.
    """
    snippets = inside(case, implementation, " + offset")
    order = (1, 0, 0) if case.seed % 2 else (0, 0, 1)
    given = ["x", *snippets.states()]
    body = [
        "passes = []",
        f"for offset in (0, {EARLIER_CALL}):",
        *indented([*snippets.arguments(), f"{snippets.targets} = {snippets.called('layer')}", *snippets.loss()]),
        f"    passes.append(({', '.join(given)}, loss))",
        f"for k in {order}:",
        "    if passes[k][-1].requires_grad:",
        "        passes[k][-1].backward(retain_graph=True)",
    ]
    body = [*snippets.frozen("layer"), *body]
    if finding is None:
        return snippets.program(function(snippets, body), prepared(snippets), [result(snippets)])
    name = finding.tensor.removesuffix(".grad")
    variable = "x" if name == "input" else name
    if variable in given:
        body.append(f"{variable} = passes[{int(of_second)}][{given.index(variable)}]")
    body.append(f"return {snippets.gradient(name)}")
    return snippets.program(function(snippets, body), prepared(snippets), difference(snippets, finding))


def related(case: Case, implementation: Implementation, finding: Finding, relation: Relation) -> str:
    """Compare one tensor of two runs of the candidate."""
    snippets = beside(case, implementation)
    return snippets.program(
        snippets.layers(),
        ["with torch.no_grad():", *indented([*snippets.arguments(), *relation(snippets, finding.tensor)])],
        ["error = (one - other).abs().max().item()", asserted(finding)],
    )


def time_reversal(snippets: Snippets, tensor: str) -> Lines:
    """Swap the weights of the two directions and reverse time."""
    turned = [f"{name}.flip(0)" for name in ("x", *snippets.states())]
    other = 'weights[k.removesuffix("_reverse") if k.endswith("_reverse") else k + "_reverse"] for k in weights'
    lines = [
        f"one = {snippets.called('candidate')}{snippets.result(tensor)}",
        "weights = {k: weight.clone() for k, weight in truth.state_dict().items()}",
        f"truth.load_state_dict({{k: {other}}})",
        *snippets.candidate("swapped"),
        f"other = {snippets.called('swapped', *turned)}{snippets.result(tensor)}.flip(0)",
    ]
    return [*lines, "other = torch.cat(other.chunk(2, -1)[::-1], -1)"] if tensor == "output" else lines


def cut_and_carry(snippets: Snippets, tensor: str) -> Lines:
    """Run the two halves of the sequence, the second from the state of the first."""
    cut, axis = snippets.case.seq_len // 2, 1 - snippets.batch_axis("input") if snippets.case.batched else 0
    head, tail = (f"x[:, {part}]" if axis else f"x[{part}]" for part in (f":{cut}", f"{cut}:"))
    lines = [
        f"one = {snippets.called('candidate')}{snippets.result(tensor)}",
        f"head, state = {snippets.called('candidate', head)}",
        f"tail, last = candidate({tail}, state)",
    ]
    if tensor == "output":
        return [*lines, f"other = torch.cat([head, tail], {axis})"]
    return [*lines, f"other = last{snippets.result(tensor).removeprefix('[1]')}"]


def batch_permutation(snippets: Snippets, tensor: str) -> Lines:
    """Permute the batch; of one sequence without a batch axis, that is to call the layer again."""
    case = snippets.case
    if not case.batched:
        call = f"{snippets.called('candidate')}{snippets.result(tensor)}"
        return [f"one = {call}", f"other = {call}"]
    order = torch.randperm(case.batch, generator=torch.Generator().manual_seed(case.seed)).tolist()
    drawn = f"torch.randperm({case.batch}, generator=torch.Generator().manual_seed({case.seed}))"
    index = {0: "[order]", 1: "[:, order]"}
    permuted = [f"x{index[snippets.batch_axis('input')]}", *(f"{name}[:, order]" for name in snippets.states())]
    return [
        f"order = {order if case.batch < 20 else drawn}",
        f"one = {snippets.called('candidate')}{snippets.result(tensor)}{index[snippets.batch_axis(tensor)]}",
        f"other = {snippets.called('candidate', *permuted)}{snippets.result(tensor)}",
    ]


def one_by_one(snippets: Snippets, tensor: str) -> Lines:
    """Run each sequence alone, at its own length."""
    names = [f"{name}[:, row : row + 1]" for name in snippets.states()]
    state = f", ({', '.join(names)})" if len(names) > 1 else "".join(f", {name}" for name in names)
    whole = f"{snippets.called('candidate')}{snippets.result(tensor)}"
    if tensor == "output":
        whole = f"torch.nn.utils.rnn.pad_packed_sequence({whole})[0]"
    return [
        f"lengths = {shortest(snippets.case.lengths or ())}",
        f"one, rows = {whole}, []",
        "for row, length in enumerate(lengths):",
        f"    alone = candidate(x[:length, row : row + 1]{state}){snippets.result(tensor)}",
        "    rows.append(alone[:, 0])",
        f"other = {'torch.nn.utils.rnn.pad_sequence(rows)' if tensor == 'output' else 'torch.stack(rows, 1)'}",
    ]


def absent_is_zero(snippets: Snippets, tensor: str) -> Lines:
    """Leave out a state of zeros."""
    return [
        f"one = {snippets.called('candidate')}{snippets.result(tensor)}",
        f"other = candidate({'pack(x)' if snippets.case.lengths else 'x'}){snippets.result(tensor)}",
    ]


def inside(case: Case, implementation: Implementation, offset: str = "") -> Snippets:
    """Return the writer of a function that is given the place of the layer, and in earlier calls other sizes."""
    plain = Snippets(case, implementation)
    earlier = len(case.modes) > 1
    to = ".to(**to)" if plain.place else ""
    return Snippets(case, implementation, to, " + offset" if earlier else offset, " + more" if earlier else "")


def beside(case: Case, implementation: Implementation) -> Snippets:
    """Return the writer of calls of the candidate alone."""
    place = Snippets(case, implementation).place
    return Snippets(case, implementation, f".to({place})" if place else "")


def function(snippets: Snippets, body: Sequence[str]) -> Lines:
    """Write the function that runs a layer."""
    earlier = ", offset=0, more=0" if snippets.more else ""
    head = f"def result(layer{earlier}{', **to' if snippets.place else ''}):"
    return [*([] if snippets.case.cotangents else ["@torch.no_grad()"]), head, *indented(body)]


def returning(snippets: Snippets, tensor: str) -> Lines:
    """Write the function that runs a layer and returns one tensor."""
    return function(snippets, returned(snippets, tensor))


def returned(snippets: Snippets, tensor: str) -> Lines:
    """Write what runs a layer and returns one tensor."""
    name = tensor.removesuffix(".grad")
    value = f"{tensor}.data" if tensor == "output" and snippets.case.lengths is not None else tensor
    return [*run_lines(snippets), f"return {value if name == tensor else snippets.gradient(name)}"]


def run_lines(snippets: Snippets) -> Lines:
    """Write what leads to the results of a case: arguments, call and backward pass."""
    case = snippets.case
    lines = [*snippets.frozen("layer"), *snippets.arguments()]
    lines += [f"torch.manual_seed({case.dropout_seed})"] if case.dropout_seed is not None else []
    lines.append(f"{snippets.targets} = {snippets.called('layer')}")
    return [*lines, *backward(snippets)] if case.cotangents else lines


def backward(snippets: Snippets) -> Lines:
    """Write the backward pass; a loss that depends on nothing has none."""
    return [*snippets.loss(), "if loss.requires_grad:", "    loss.backward()"]


def prepared(snippets: Snippets) -> Lines:
    """Build both layers and call the candidate in all modes but the last."""
    return [*snippets.layers(), *(snippets.earlier_calls() if snippets.more else ())]


def result(snippets: Snippets, layer: str = "candidate") -> str:
    """Return the expression of a run of `truth` or of `candidate`."""
    place = snippets.place if layer == "candidate" else "dtype=torch.float64"
    return f"result({layer}, {place})" if snippets.place else f"result({layer})"


def difference(snippets: Snippets, finding: Finding) -> Lines:
    """Compare the result of the candidate with that of `torch.nn`."""
    home = ".cpu()" if snippets.case.device != "cpu" else ""
    expected, came = result(snippets, "truth"), f"{result(snippets)}{home}"
    if snippets.case.nonfinite is None:
        return [f"error = ({expected} - {came}).abs().max().item()", asserted(finding)]
    lines = [f"expected = {expected}", f"came = {came}"]
    if finding.error == float("inf"):
        same = "same = torch.equal(came.isfinite(), expected.isfinite())"
        return [*lines, same, f'assert same, "{finding.describe()}"']
    return [*lines, "error = (expected - came).abs().where(expected.isfinite(), 0.0).max().item()", asserted(finding)]


def asserted(finding: Finding, limit: float | None = None) -> str:
    """Write the assertion that a tensor lies within the bound of a finding."""
    bound = f"{finding.limit if limit is None else limit:.3g}"
    return f'assert error <= {bound}, f"{finding.tensor} is off by {{error:.3g}}, bound {bound}"'
