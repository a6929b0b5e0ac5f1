"""The lines of a reproducer: plain PyTorch that builds the layers of a case, draws its tensors and calls a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..core.candidate import Implementation
from ..core.case import EARLIER_CALL, ROLES, Case, layout_of

MOST_LINES = 25
COLUMNS = 120
WIDEST = 160  # where lines would else be too many, which takes nearly every option at once

Lines = list[str]

# A memory layout, made of a tensor.
LAYOUT_CODE = {
    "transposed": "{0}.transpose(0, -1).contiguous().transpose(0, -1)",
    "offset": "torch.hstack([{0}.new_zeros(1), {0}.flatten()])[1:].view_as({0})",
    "strided": "torch.stack([{0}, {0} * torch.nan], -1)[..., 0]",
}

RESULTS = {"output": "[0]", "h_n": "[1]", "c_n": "[1][1]"}  # where a call's result holds it; h_n of an LSTM in [1][0]


@dataclass(frozen=True)
class Snippets:
    """Writes the parts of a program about one case.

    Args:
        case: whose numbers the program has.
        implementation: the candidate.
        to: what moves a drawn tensor to the place and dtype of the layer, such as ".to(**to)".
        offset: what is added to each seed, such as " + offset".
        more: what is added to seq_len and batch, such as " + more".
    """

    case: Case
    implementation: Implementation
    to: str = ""
    offset: str = ""
    more: str = ""

    @property
    def name(self) -> str:
        """What the program calls the candidate's class."""
        _, _, attribute = (self.implementation.location or "").partition(":")
        return attribute if "." in attribute else "Candidate"

    @property
    def place(self) -> str:
        """The dtype and, where it is not the CPU, the device, as keyword arguments; nothing for float64 on the CPU."""
        if self.case.device != "cpu":
            return f"dtype={self.case.dtype}, device={self.case.device!r}"
        return f"dtype={self.case.dtype}" if self.case.dtype != torch.float64 else ""

    def program(self, *sections: Sequence[str]) -> str:
        """Return imports, the functions that draw and pack, and the given sections, in at most `MOST_LINES` lines."""
        body = "\n".join(line for lines in sections for line in lines)
        head = ["import copy, torch" if "copy." in body else "import torch", self._imported()]
        if self.case.device != "cpu" and self.case.dtype == torch.float32:
            head.append("torch.backends.cudnn.allow_tf32 = False")
        return fitted([head, self._draw(), self._pack() if " pack(" in body or "(pack(" in body else [], *sections])

    def _imported(self) -> str:
        if self.implementation.location is None:
            return "Candidate = ...  # the layer under judgement"
        module, _, attribute = self.implementation.location.partition(":")
        first, *rest = attribute.split(".")
        return f"from {module} import {first}" if rest else f"from {module} import {first} as Candidate"

    def _draw(self) -> Lines:
        scaled = self.case.weight_scale != 1 or self.case.input_scale != 1
        values = "torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)"
        head = f"def draw(seed, *shape{', scale=1.0' if scaled else ''}):"
        if self.case.dtype == torch.float64:
            return [head, f"    return {'scale * ' if scaled else ''}{values}"]
        product = "(scale * values)" if scaled else "values"
        return [head, f"    values = {values}", f"    return {product}.to({self.case.dtype}).double()"]

    def _pack(self) -> Lines:
        unsorted = "" if self.case.enforce_sorted else ", enforce_sorted=False"
        lengths = shortest(self.case.lengths or ())
        line = f"    return torch.nn.utils.rnn.pack_padded_sequence(t, {lengths}{unsorted})"
        if len(line) <= COLUMNS:
            return ["def pack(t):", line]
        return ["def pack(t):", f"    lengths = {lengths}", line.replace(lengths, "lengths")]

    def layers(self) -> Lines:
        """Build the built-in in float64 with the case's weights, and the candidate with the same."""
        case, spec = self.case, self.case.spec
        options = ", ".join(f"{name}={value!r}" for name, value in spec.arguments().items())
        place = f"dtype={case.dtype}" + (f", device={case.device!r}" if case.device != "cpu" else "")
        before: Lines = []
        if len(f"truth = torch.nn.LSTM({options}, {place}).eval()") > COLUMNS:
            before, options = [f"options = dict({options})"], "**options"
            if len(before[0]) > COLUMNS:
                before = before[0].replace(", bias=", ")\noptions |= dict(bias=").split("\n")
        scale = "" if case.weight_scale == 1 else f", scale={case.weight_scale} if p.dim() == 2 else 1.0"
        mode = ".eval()" if case.modes[-1] == "eval" else ""
        built = [
            *before,
            f"truth = torch.nn.{spec.kind.upper()}({options}, dtype=torch.float64){mode if spec.dropout else ''}",
            "for k, p in enumerate(truth.parameters()):",
            f"    p.data = draw({added(case.seed, ' + k')}, *p.shape{scale})",
            *self._planted(*spec.parameter_shapes()),
            *self.candidate("candidate", f"{options}, {place}"),
        ]
        return [*built, "candidate.eval()"] if mode and len(case.modes) == 1 else built

    def candidate(self, variable: str, options: str = "") -> Lines:
        """Build the candidate with truth's weights; without options, from a copy of the one there is."""
        if self.implementation.from_builtin:
            place = f"{self.case.device!r}, {self.case.dtype}"
            return [f"{variable} = {self.name}.from_builtin(copy.deepcopy(truth).to({place}))"]
        made = f"{self.name}({options})" if options else "copy.deepcopy(candidate)"
        return [f"{variable} = {made}", f"{variable}.load_state_dict(truth.state_dict())"]

    def frozen(self, layer: str) -> Lines:
        """Let the case's frozen parameters require no gradient."""
        if not self.case.frozen:
            return []
        line = f"for name in [{', '.join(map(repr, self.case.frozen))}]:"
        if len(line) < COLUMNS - 4:
            return [line, f"    {layer}.get_parameter(name).requires_grad_(False)"]
        names = list(self.case.spec.parameter_shapes())
        frozen = [k for k, name in enumerate(names) if name in self.case.frozen]
        trained = [k for k in range(len(names)) if k not in frozen]
        chosen = f"not in {frozen}" if len(frozen) < len(trained) else f"in {trained}"
        return [
            "for k, name in enumerate(truth.state_dict()):",
            f"    {layer}.get_parameter(name).requires_grad_(k {chosen})",
        ]

    def arguments(self) -> Lines:
        """Draw input and states in the case's axes and memory layouts."""
        lines = self._arguments("input")
        lines += self._arguments(*self.states()) if self.states() else []
        return [*lines, *self._planted("input", "h_0", "c_0")]

    def _planted(self, *names: str) -> Lines:
        """Put the case's NaN or infinity into one of the tensors of these names, if it is there."""
        if self.case.nonfinite is None or self.case.nonfinite[0] not in names:
            return []
        name, index, value = self.case.nonfinite
        variable = {"input": "x", "h_0": "h_0", "c_0": "c_0"}.get(name, f"truth.{name}")
        return [
            f"{variable}.data.view(-1)[{index}] = {str(value).replace('nan', 'torch.nan').replace('inf', 'torch.inf')}"
        ]

    def states(self) -> list[str]:
        """Return the variables of the state that is given."""
        return [] if self.case.states == "absent" else ["h_0", "c_0"][: 2 if self.case.spec.kind == "lstm" else 1]

    def _arguments(self, *names: str) -> Lines:
        """Draw the input, or the states, which have one memory layout."""
        variables = ["x" if name == "input" else name for name in names]
        lines = [f"{variable} = {self.drawn(name)}" for variable, name in zip(variables, names, strict=True)]
        grad = ".requires_grad_()" if self.case.cotangents and self.case.wants_grad(names[0]) else ""
        code = self._layout(names[0])
        if not code:
            return [f"{line}{grad}" for line in lines]
        if len(names) == 1:
            return [*lines, f"{variables[0]} = {code.format(variables[0])}{grad}"]
        return [*lines, f"{', '.join(names)} = ({code.format('t')}{grad} for t in ({', '.join(names)}))"]

    def _layout(self, name: str) -> str:
        layout = layout_of(self.case, name)
        if layout == "expanded" and self.case.batched:
            batch = f"{self.case.batch}{self.more}"
            if self.batch_axis(name) == 0:
                return f"{{0}}[:1].clone().expand({batch}, -1, -1)"
            return f"{{0}}[:, :1].clone().expand(-1, {batch}, -1)"
        packed = name == "input" and self.case.lengths is not None  # packing copies
        return "" if packed else LAYOUT_CODE.get(layout, "")

    def batch_axis(self, name: str) -> int:
        """Return where the batch axis is; time comes first where a sequence is packed."""
        first = name in ("input", "output") and self.case.spec.batch_first and self.case.lengths is None
        return 0 if first else 1

    def drawn(self, name: str) -> str:
        """Return the expression of a tensor of the case, in the axes of the layer."""
        case = self.case
        sizes = ", ".join(self._shape(name))
        code = f"draw({added(case.seed + ROLES[name], self.offset)}, {sizes}"
        code += f", scale={case.input_scale})" if name == "input" and case.input_scale != 1 else ")"
        to, constant = self.to, ""
        if case.states == "zeros" and name in ("h_0", "c_0"):
            constant = "zeros"
        elif case.plain_sum and name in case.cotangents:
            constant = "ones"
        if constant:
            code, to = f"torch.{constant}({sizes}, {to[len('.to(') : -1] or 'dtype=torch.float64'})", ""
        if not case.batched:
            code += "[:, 0]"
        elif self.batch_axis(name) == 0:
            code += ".transpose(0, 1)"
        return code + to

    def _shape(self, name: str) -> tuple[str, str, str]:
        case, spec = self.case, self.case.spec
        more = self.more if name in ("input", "h_0", "c_0") else ""
        batch = f"{case.batch}{more if case.batched else ''}"
        if name in ("input", "output"):
            features = spec.input_size if name == "input" else spec.num_directions * spec.state_size
            return f"{case.seq_len}{more}", batch, str(features)
        features = spec.state_size if name in ("h_0", "h_n") else spec.hidden_size
        return str(spec.num_layers * spec.num_directions), batch, str(features)

    def called(self, layer: str, x: str = "x", *states: str) -> str:
        """Return the expression of a call.

        Args:
            layer: the variable.
            x: the input, packed by this where the case is.
            states: those given, the case's own variables by default.
        """
        if self.case.lengths is not None:
            padded = f"{x}.transpose(0, 1)" if self.case.spec.batch_first else x
            x = f"{padded} if more else pack({x})" if self.more else f"pack({x})"
        given = states or tuple(self.states())
        state = f", ({', '.join(given)})" if len(given) > 1 else "".join(f", {name}" for name in given)
        return f"{layer}({x}{state})"

    @property
    def targets(self) -> str:
        """What a call's results are assigned to."""
        return "output, (h_n, c_n)" if self.case.spec.kind == "lstm" else "output, h_n"

    def result(self, tensor: str) -> str:
        """Return where in a call's results a tensor is."""
        return "[1][0]" if tensor == "h_n" and self.case.spec.kind == "lstm" else RESULTS[tensor]

    def loss(self) -> Lines:
        """Sum up the results' products with their cotangents; the loss of an earlier call is its output's sum."""
        lines: Lines = []
        for term in map(self._term, self.case.cotangents):
            if lines and len(lines[-1]) + len(term) < COLUMNS - 12:
                lines[-1] += f" + {term}"
            else:
                otherwise = "0 if more else " if lines else "output.sum() if more else "
                lines.append(f"loss {'+' if lines else ''}= {otherwise if self.more else ''}{term}")
        return lines

    def _term(self, name: str) -> str:
        packed = name == "output" and self.case.lengths is not None
        value = f"{name}.data" if packed else name
        if self.case.plain_sum:
            return f"{value}.sum()"
        cotangent = replace(self, offset="").drawn(name) if self.more else self.drawn(name)
        if packed:
            cotangent = f"pack({cotangent.removesuffix(self.to)}).data{self.to}"
        return f"({value} * {cotangent}).sum()"

    def weighted(self, name: str) -> str:
        """Return the sum of a result's product with a cotangent that the program has in a variable."""
        packed = name == "output" and self.case.lengths is not None
        return f"({name}.data * pack(w_{name}).data).sum()" if packed else f"({name} * w_{name}).sum()"

    def gradient(self, name: str, layer: str = "layer") -> str:
        """Return the expression of a gradient; one that is absent counts as zero."""
        if name in ("input", "h_0", "c_0"):
            name = "x" if name == "input" else name
        elif self.implementation.from_builtin:
            return f"{layer}.{name}.grad if {layer} is truth else {self.name}.gradients({layer})[{name!r}]"
        else:
            return f"p.grad if (p := {layer}.{name}).grad is not None else torch.zeros_like(p)"
        return f"{name}.grad if {name}.grad is not None else torch.zeros_like({name})"

    def earlier_calls(self) -> Lines:
        """Call the candidate in each mode but the last, on other and larger tensors and with other weights."""
        *modes, last = (mode == "train" for mode in self.case.modes)
        place = f", {self.place}" if self.place else ""
        return [
            f"for k, training in enumerate({modes}, 1):  # earlier calls: larger, with other weights",
            "    [p.data.neg_() for p in candidate.parameters()]",
            f"    result(candidate.train(training), {EARLIER_CALL} * k, 1{place})",
            "    [p.data.neg_() for p in candidate.parameters()]",
            f"candidate.train({last}).zero_grad()",
        ]


def added(seed: int, variable: str) -> str:
    """Return the sum of a seed and a variable such as " + k"."""
    return f"{seed}{variable}" if seed or not variable else variable.removeprefix(" + ")


def indented(lines: Sequence[str]) -> Lines:
    """Return lines as the body of a function."""
    return ["    " + line for line in lines]


def shortest(lengths: Sequence[int]) -> str:
    """Return code for lengths, which in a large batch repeat in runs or with a period."""
    text = str(list(lengths))
    if len(text) <= COLUMNS // 3:
        return text
    if list(lengths) == sorted(lengths, reverse=True):
        return " + ".join(f"[{n}] * {lengths.count(n)}" for n in sorted(set(lengths), reverse=True))
    for period in range(1, 6):  # cases repeat at most five, and put in one that is as long as the sequence
        repeated = [max(lengths[k::period], key=lengths[k::period].count) for k in range(period)]
        odd = [row for row, length in enumerate(lengths) if length != repeated[row % period]]
        if len(odd) <= 1:
            other = "".join(f"{lengths[row]} if k == {row} else " for row in odd)
            return f"[{other}{repeated}[k % {period}] for k in range({len(lengths)})]"
    return text


def fitted(sections: Sequence[Sequence[str]]) -> str:
    """Join sections by blank lines where that keeps to `MOST_LINES`, and put short statements on a line where not."""
    program = "\n\n".join("\n".join(lines) for lines in sections if lines)
    lines = program.split("\n")
    if len(lines) > MOST_LINES:
        lines = [line for line in lines if line]
    for columns in (COLUMNS, WIDEST):
        while len(lines) > MOST_LINES:
            pairs = ((at, _joined(columns, *lines[at : at + 3])) for at in range(len(lines) - 1))
            joined = [(at, line) for at, line in pairs if line]
            if not joined:
                break
            at, line = min(joined, key=lambda pair: len(pair[1]))
            lines[at : at + 2] = [line]
    return "\n".join(lines)


def _joined(columns: int, first: str, second: str, third: str = "") -> str | None:
    """Return two statements on one line, None where they do not go there."""

    def depth(line: str) -> int:
        return len(line) - len(line.lstrip())

    def compound(line: str) -> bool:
        return line.lstrip().startswith(("for ", "if ", "def ", "@"))

    if compound(second) or "#" in first + second or len(first) + len(second.strip()) + 2 > columns:
        return None
    if first.endswith(":"):
        return f"{first} {second.strip()}" if depth(third) <= depth(first) else None
    return f"{first}; {second.strip()}" if depth(first) == depth(second) and not compound(first) else None
