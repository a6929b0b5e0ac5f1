"""A failing case as a snippet to paste: plain PyTorch, with the candidate's import on top."""

from __future__ import annotations

from .cases import EARLIER_CALL, ROLES, Case, layout_of
from .implementation import Implementation
from .verdict import Verdict

LAYOUT_CODE = {
    "contiguous": "{}",
    "transposed": "{}.transpose(0, -1).contiguous().transpose(0, -1)",
    "offset": "torch.cat([torch.zeros(1), {0}.flatten()]).to({0})[1:].view({0}.shape)",
    "strided": "torch.stack([{0}, {0}], dim=-1)[..., 0]",
    "expanded": "{0}[{1}].expand({0}.shape)",
}


def plain(verdict: Verdict) -> str:
    """Return a program that compares the worst tensor with `torch.nn` in float64 on the CPU and fails.

    Args:
        verdict: one with a wrong tensor, or with an exception raised by the candidate.
    """
    case, implementation = verdict.case, verdict.implementation
    worst = verdict.findings[0] if verdict.misbehaviour is None else None
    tensor = worst.tensor if worst else "input.grad" if case.cotangents else "output"
    place = f"{case.dtype}, {case.device!r}"
    program = [
        "import copy, torch" if implementation.from_builtin else "import torch",
        *_imported(implementation),
        "",
        "def draw(seed, *shape, scale=1.0):",
        "    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)",
        f"    return (scale * values).to({case.dtype}).double()",
        "",
        *(() if case.cotangents else ("@torch.no_grad()",)),
        "def result(layer, dtype, device):",
        *("    " + line for line in _calls(case, tensor, implementation)),
        "",
        *_layers(case, implementation),
    ]
    if worst is None:
        return "\n".join([*program, f"result(candidate, {place})  # {verdict.misbehaviour}"])
    return "\n".join(
        [
            *program,
            f'expected, came = result(truth, torch.float64, "cpu"), result(candidate, {place})',
            "error = (expected - came.detach().cpu().double()).abs().max().item()",
            f'assert error <= {worst.limit:.3g}, f"{tensor} is off by {{error:.3g}}, bound {worst.limit:.3g}"',
        ]
    )


def replayed(verdict: Verdict, aspect: str, trial: str, tries: int = 1) -> str:
    """Return a program that asks the judge for its verdict on the case again, several times for a random fault."""
    implementation = verdict.implementation
    target = repr(implementation.location) if implementation.location else "Candidate"
    return "\n".join(
        [
            "import torch",
            *(_imported(implementation) if implementation.location is None else ()),
            "from rnn_parity.judge.cases import Case",
            "from rnn_parity.judge.aspects import replay",
            "from rnn_parity.reference import LayerSpec",
            "",
            f"case = {verdict.case!r}",
            *((f"for _ in range({tries}):  # the fault comes and goes",) if tries > 1 else ()),
            f"{'    ' if tries > 1 else ''}replay({target}, {aspect!r}, {trial!r}, case)",
        ]
    )


def _imported(implementation: Implementation) -> list[str]:
    if implementation.location is None:
        return ["Candidate = ...  # the layer under judgement"]
    module, _, attribute = implementation.location.partition(":")
    first, *rest = attribute.split(".")
    if rest:
        return [f"from {module} import {first}", f"Candidate = {attribute}"]
    return [f"from {module} import {first} as Candidate"]


def _layers(case: Case, implementation: Implementation) -> list[str]:
    """Build truth, the built-in in float64, and the candidate with its weights."""
    options = ", ".join(f"{name}={value!r}" for name, value in case.spec.arguments().items())
    place = f"device={case.device!r}, dtype={case.dtype}"
    scale = "" if case.weight_scale == 1 else f", scale={case.weight_scale} if p.dim() == 2 else 1.0"
    if implementation.from_builtin:
        built = [f"candidate = Candidate.from_builtin(copy.deepcopy(truth).to({place}))"]
    else:
        built = [
            f"candidate = Candidate({options}, {place})",
            "candidate.load_state_dict(truth.state_dict())",
        ]
    return [
        f"truth = torch.nn.{case.spec.kind.upper()}({options}, dtype=torch.float64)",
        "for k, p in enumerate(truth.parameters()):",
        f"    p.data = draw({_sum(case.seed, 'k')}, *p.shape{scale})",
        *built,
    ]


def _calls(case: Case, tensor: str, implementation: Implementation) -> list[str]:
    """Write the calls of the case and the return of the tensor that is wrong."""
    lines = _call(case, tensor)
    if len(case.modes) > 1:
        last = len(case.modes) - 1
        calls = [
            (EARLIER_CALL * (k + 1) if k < last else 0, mode == "train", k < last) for k, mode in enumerate(case.modes)
        ]
        loop = [
            f"for offset, training, earlier in {calls}:  # earlier calls: larger, with other weights",
            "    layer.train(training).zero_grad()",
            "    if earlier: [p.data.neg_() for p in layer.parameters()]",
        ]
        lines = loop + ["    " + line for line in lines]
    elif case.modes == ("eval",):
        lines = ["layer.eval()", *lines]
    if case.frozen:
        frozen = f"for name, p in layer.named_parameters(): p.requires_grad_(name not in {case.frozen})"
        lines = [frozen, *lines]
    return [*lines, *_returned(case, tensor, implementation)]


def _call(case: Case, tensor: str) -> list[str]:
    spec, rows = case.spec, case.spec.num_layers * case.spec.num_directions
    steps, batch = _larger(case, case.seq_len), _larger(case, case.batch) if case.batched else "1"
    h, c = (rows, batch, spec.state_size), (rows, batch, spec.hidden_size)
    lines = _argument(case, "x", "input", (steps, batch, spec.input_size))
    if case.states != "absent":
        for name, shape in (("h_0", h), ("c_0", c))[: 2 if spec.kind == "lstm" else 1]:
            lines += _argument(case, name, name, shape)
    state = "" if case.states == "absent" else ", (h_0, c_0)" if spec.kind == "lstm" else ", h_0"
    given = "x"
    if case.lengths is not None:
        # The same data in either order of axes, so that packing a time-major tensor serves both.
        pack = f"lambda t: torch.nn.utils.rnn.pack_padded_sequence(t, {list(case.lengths)}, "
        lines.insert(0, f"pack = {pack}enforce_sorted={case.enforce_sorted})")
        given = "pack(x.transpose(0, 1))" if spec.batch_first else "pack(x)"
        given = f"x if earlier else {given}" if len(case.modes) > 1 else given
    if case.dropout_seed is not None:
        lines.append(f"torch.manual_seed({case.dropout_seed})")
    lines.append(f"output, {'(h_n, c_n)' if spec.kind == 'lstm' else 'h_n'} = layer({given}{state})")
    if len(case.modes) > 1:
        lines.append("if earlier:")
        lines += ["    if output.requires_grad: output.sum().backward()"] if case.cotangents else []
        lines += [
            "    [p.data.neg_() for p in layer.parameters()]",
            "    continue",
        ]
    if case.lengths is not None:
        lines.append("output = output.data")
    if not tensor.endswith(".grad"):
        return lines
    shapes = {
        "output": (case.seq_len, case.batch, spec.num_directions * spec.state_size),
        "h_n": (rows, case.batch, spec.state_size),
        "c_n": (rows, case.batch, spec.hidden_size),
    }
    terms = [_term(case, name, shapes[name]) for name in case.cotangents]
    return [*lines, f"loss = {' + '.join(terms)}", "if loss.requires_grad: loss.backward()"]


def _larger(case: Case, size: int) -> str:
    return f"{size} + earlier" if len(case.modes) > 1 else str(size)


def _argument(case: Case, variable: str, name: str, shape: tuple[int | str, ...]) -> list[str]:
    code = _drawn(case, name, shape)
    if name != "input" and case.states == "zeros":
        code = code.replace(f"draw({_seed(case, name)}, ", "torch.zeros(")
    lines = [f"{variable} = {code}.to(device, dtype)"]
    layout = layout_of(case, name)
    if layout != "contiguous":
        first = ":" if not case.batched else ":1" if code.endswith("transpose(0, 1)") else ":, :1"
        lines.append(f"{variable} = " + LAYOUT_CODE[layout].format(variable, first))
    if case.cotangents and case.wants_grad(name):
        lines[-1] = f"{lines[-1]}.requires_grad_()"
    return lines


def _term(case: Case, name: str, shape: tuple[int, ...]) -> str:
    """Write one result's part of the loss: the sum of its products with the cotangent."""
    if case.plain_sum:
        return f"{name}.sum()"
    if name == "output" and case.lengths is not None:
        return f"(output * pack(draw({_seed(case, name)}, {', '.join(map(str, shape))})).data.to(output)).sum()"
    return f"({name} * {_drawn(case, name, shape)}.to({name})).sum()"


def _drawn(case: Case, name: str, shape: tuple[int | str, ...]) -> str:
    scale = f", scale={case.input_scale}" if name == "input" and case.input_scale != 1 else ""
    code = f"draw({_seed(case, name)}, {', '.join(map(str, shape))}{scale})"
    if not case.batched:
        return f"{code}[:, 0]"
    return f"{code}.transpose(0, 1)" if name in ("input", "output") and case.spec.batch_first else code


def _seed(case: Case, name: str) -> str:
    seed = case.seed + ROLES[name]
    return _sum(seed, "offset") if len(case.modes) > 1 else str(seed)


def _sum(seed: int, variable: str) -> str:
    return f"{seed} + {variable}" if seed else variable


def _returned(case: Case, tensor: str, implementation: Implementation) -> list[str]:
    name = tensor.removesuffix(".grad")
    if name == tensor:
        return [f"return {tensor}"]
    if name in ("input", "h_0", "c_0"):
        name = "x" if name == "input" else name
        return [f"return {name}.grad if {name}.grad is not None else torch.zeros_like({name})"]
    if implementation.from_builtin:
        return [f"return layer.{name}.grad if layer is truth else Candidate.gradients(layer)[{name!r}]"]
    return [f"return layer.{name}.grad if layer.{name}.grad is not None else torch.zeros_like(layer.{name})"]
