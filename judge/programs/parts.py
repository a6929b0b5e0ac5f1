"""The parts of a program about one case: expressions of plain PyTorch, which the templates put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..core.candidate import Implementation
from ..core.case import ARGUMENT_OF, ROLES, Case, layout_of
from ..core.verdict import Finding

COLUMNS = 120
ARGUMENTS = ("input", "h_0", "c_0")
RESULTS = {"output": "[0]", "h_n": "[1]", "c_n": "[1][1]"}  # where a call's result holds it; h_n of an LSTM in [1][0]
HELPERS = {"offset": "shifted"}  # the program's function for a memory layout, where that has not the layout's name


@dataclass(frozen=True)
class Parts:
    """Writes what a program says of one case.

    Args:
        case: whose numbers the program has.
        implementation: the candidate.
        to: what moves a drawn tensor to the place and dtype of the layer, such as ".to(**to)".
        offset: what is added to each seed, such as " + offset".
        more: what is added to seq_len and batch in earlier calls, such as " + more".
    """

    case: Case
    implementation: Implementation
    to: str = ""
    offset: str = ""
    more: str = ""

    @property
    def name(self) -> str:
        """What the program calls the candidate's class."""
        attribute = (self.implementation.location or "").partition(":")[2]
        return attribute if "." in attribute else "Candidate"

    @property
    def imported(self) -> str:
        """The line that imports the candidate, or leaves a place for it."""
        if self.implementation.location is None:
            return "Candidate = ...  # the layer under judgement"
        module, _, attribute = self.implementation.location.partition(":")
        first, *rest = attribute.split(".")
        return f"from {module} import {first}" if rest else f"from {module} import {first} as Candidate"

    @property
    def place(self) -> str:
        """The layer's dtype and device as keyword arguments; nothing for float64 on the CPU, the place of `truth`."""
        device = f"device={self.case.device!r}" if self.case.device != "cpu" else ""
        return ", ".join(part for part in (self.dtype, device) if part) if device or not self.exact else ""

    @property
    def dtype(self) -> str:
        """The layer's dtype as a keyword argument."""
        return f"dtype={self.case.dtype}"

    @property
    def exact(self) -> bool:
        """Whether the layer computes in float64."""
        return self.case.dtype == torch.float64

    @property
    def options(self) -> str:
        """The options of the layer as keyword arguments."""
        return ", ".join(f"{name}={value!r}" for name, value in self.case.spec.arguments().items())

    @property
    def dialect(self) -> list[str]:
        """The lines that make `truth` speak the candidate's dialect, after the candidate has its weights."""
        lines, h = [], self.case.spec.hidden_size
        if "one bias" in self.case.spec.dialect and self.case.spec.bias:
            lines = [
                "for name, p in truth.named_parameters():  # one bias",
                '    if "bias_hh" in name:',
                '        truth.get_parameter(name.replace("hh", "ih")).data.add_(p.data), p.data.zero_()',
            ]
        if "forget bias + 1" in self.case.spec.dialect:
            lines.append(f'[p.data[{h} : {2 * h}].add_(1) for n, p in truth.named_parameters() if "bias_ih" in n]')
        return lines

    @property
    def weight_scale(self) -> str:
        """The scale of a parameter `p` as an argument of `draw`; biases have 1."""
        return f", scale={self.case.weight_scale} if p.dim() == 2 else 1.0" if self.case.weight_scale != 1 else ""

    @property
    def grad_mode(self) -> str:
        """The context in which a call without a loss is made."""
        modes = {"grad": "torch.enable_grad()", "no_grad": "torch.no_grad()", "inference": "torch.inference_mode()"}
        return modes[getattr(self.case, "grad_mode", "no_grad")]

    @property
    def earlier(self) -> list[bool]:
        """Whether each call before the last one trains."""
        return [mode == "train" for mode in self.case.modes[:-1]]

    @property
    def lengths(self) -> str:
        """The lengths of the packed sequences."""
        return shortest(self.case.lengths or ())

    @property
    def given(self) -> list[str]:
        """The names of the arguments that the layer is called with."""
        states = 0 if self.case.states == "absent" else 2 if self.case.spec.kind == "lstm" else 1
        return list(ARGUMENTS[: 1 + states])

    def each(self, code: str) -> list[str]:
        """Return an expression of each argument in turn, such as "{}.flip(0)"."""
        return [code.format(variable(name)) for name in self.given]

    @property
    def frozen(self) -> str:
        """A condition on the name and the place k of a parameter: that it requires a gradient."""
        if len(str(list(self.case.frozen))) < COLUMNS // 2:
            return f"name not in {list(self.case.frozen)}"
        names = list(self.case.spec.parameter_shapes())
        frozen = [k for k, name in enumerate(names) if name in self.case.frozen]
        trained = [k for k, name in enumerate(names) if name not in self.case.frozen]
        return f"k not in {frozen}" if len(frozen) < len(trained) else f"k in {trained}"

    def planted(self, *names: str) -> str:
        """Return the line that puts the case's NaN or infinity into a tensor, nothing if it is none of these."""
        if self.case.nonfinite is None or self.case.nonfinite[0] not in names:
            return ""
        name, index, value = self.case.nonfinite
        tensor = variable(name) if name in ARGUMENTS else f"truth.{name}"
        return f"{tensor}.data.view(-1)[{index}] = float('{value}')"

    def seed(self, role: int, variable: str = "") -> str:
        """Return the sum of the case's seed, a role and a variable such as " + k"."""
        seed = self.case.seed + role
        return f"{seed}{variable}" if seed or not variable else variable.removeprefix(" + ")

    def argument(self, name: str) -> str:
        """Return the expression of an argument, in its memory layout and with its gradient required."""
        case, layout = self.case, layout_of(self.case, name)
        copied = name == "input" and case.lengths is not None  # by packing
        code = self.drawn(name)
        if layout == "expanded" and case.batched:
            code = f"expanded({code}, {self.batch_axis(name)})"
        elif layout not in ("contiguous", "expanded") and not copied:
            code = f"{HELPERS.get(layout, layout)}({code})"
        return code + (".requires_grad_()" if case.cotangents and case.wants_grad(name) else "")

    def drawn(self, name: str) -> str:
        """Return the expression of a tensor of the case, in the axes of the layer."""
        case, spec = self.case, self.case.spec
        more = self.more if name in ARGUMENTS else ""
        rows = str(spec.num_layers * spec.num_directions)
        steps, batch = (f"{n}{more}" if n + case.more else "1" for n in (case.seq_len, case.batch))  # one is the least
        first = steps if name in ("input", "output") else rows
        features = {"input": spec.input_size, "output": spec.num_directions * spec.state_size}
        last = features.get(name, spec.hidden_size if name.startswith("c") else spec.state_size)
        scale = f", scale={case.input_scale}" if name == "input" and case.input_scale != 1 else ""
        batch = batch if case.batched else "1"
        code = f"draw({self.seed(ROLES[name], self.offset)}, {first}, {batch}, {last}{scale})"
        if not case.batched:
            code += "[:, 0]"
        elif self.batch_axis(name) == 0:
            code += ".transpose(0, 1)"
        code += self.to
        if case.states == "zeros" and name in ("h_0", "c_0"):
            return f"torch.zeros_like({code})"
        return f"torch.ones_like({code})" if case.plain_sum and name in case.cotangents else code

    def batch_axis(self, name: str) -> int:
        """Return where the batch axis is; time comes first where a sequence is packed."""
        first = name in ("input", "output") and self.case.spec.batch_first and self.case.lengths is None
        return 0 if first else 1

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
        given = states or tuple(self.given[1:])
        state = f", ({', '.join(given)})" if len(given) > 1 else "".join(f", {name}" for name in given)
        return f"{layer}({x}{state})"

    @property
    def targets(self) -> str:
        """What a call's results are assigned to."""
        return "output, (h_n, c_n)" if self.case.spec.kind == "lstm" else "output, h_n"

    def at(self, tensor: str) -> str:
        """Return where in a call's results a tensor is."""
        return "[1][0]" if tensor == "h_n" and self.case.spec.kind == "lstm" else RESULTS[tensor]

    def value(self, name: str) -> str:
        """Return the tensor of an argument or of a result."""
        packed = name == "output" and self.case.lengths is not None
        return "output.data" if packed else variable(name)

    def term(self, name: str, cotangent: str = "") -> str:
        """Return the sum of a result's product with its cotangent, or with one that the program has in a variable."""
        if self.case.plain_sum and not cotangent:
            return f"{self.value(name)}.sum()"
        cotangent = cotangent or replace(self, offset="" if self.more else self.offset).drawn(name)
        if name == "output" and self.case.lengths is not None:
            cotangent = f"pack({cotangent}).data"
        elif layout_of(self.case, ARGUMENT_OF[name]) == "transposed":
            cotangent = f"transposed({cotangent})"
        return f"({self.value(name)} * {cotangent}).sum()"

    def gradient(self, name: str) -> str:
        """Return the expression of a gradient, which may be None."""
        if name in ARGUMENTS:
            return f"{variable(name)}.grad"
        if self.implementation.from_builtin:
            return f"layer.{name}.grad if layer is truth else {self.name}.gradients(layer)[{name!r}]"
        return f"layer.{name}.grad"

    def result(self, layer: str, *arguments: str) -> str:
        """Return the expression of a run of `truth` or of `candidate`."""
        place = "dtype=torch.float64" if layer == "truth" and self.place else self.place
        return f"result({', '.join(part for part in (layer, *arguments, place) if part)})"


def variable(name: str) -> str:
    """Return what the program calls an argument or a result."""
    return "x" if name == "input" else name


def inside(case: Case, implementation: Implementation, offset: str = "") -> Parts:
    """Return the parts of a function that is given the place of the layer, and in earlier calls other sizes."""
    earlier = len(case.modes) > 1
    to = ".to(**to)" if Parts(case, implementation).place else ""
    return Parts(case, implementation, to, " + offset" if earlier else offset, " + more" if earlier else "")


def beside(case: Case, implementation: Implementation) -> Parts:
    """Return the parts of calls of the candidate alone, its last mode's."""
    once = replace(case, modes=case.modes[-1:])
    place = Parts(once, implementation).place
    return Parts(once, implementation, f".to({place})" if place else "")


def within(finding: Finding, limit: float | None = None) -> str:
    """Return the assertion that a tensor lies within the bound of a finding, or within another limit."""
    bound = f"{finding.limit if limit is None else limit:.3g}"
    return f'assert error <= {bound}, f"{finding.tensor} is off by {{error:.3g}}, bound {bound}"'


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
