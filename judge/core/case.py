"""A case: one input and all that decides what a layer is run on. Every tensor comes from the case's seed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ...reference.spec import LayerSpec

ARGUMENT_OF = {"output": "input", "h_n": "h_0", "c_n": "c_0"}  # whose layout a result's cotangent has

LAYOUTS = ("contiguous", "transposed", "offset", "strided", "expanded")

# Seeds of the tensors, counted from the case's: parameters take 0, 1, 2, … in the order of their names.
ROLES = {"input": 100, "h_0": 101, "c_0": 102, "output": 103, "h_n": 104, "c_n": 105}
EARLIER_CALL = 200  # added to all roles for calls before the one that is judged
RANDOM_SUM = 300  # seeds of the random sums over what dropout gives
DIRECTION = 400  # added to all roles and parameters for the directions of second derivatives
GRADIENT_SUMS = range(500, 532)  # seeds of the random sums over the input's gradient, of which one is chosen

LARGE = 8.0  # of c_0, which tanh then saturates

ROWS = 4096  # draws of dropout, one for each row of a batch
UNCHANGED_CALLS = 8  # after which a row that is still the same is one that dropout passes over


@dataclass(frozen=True)
class Case:
    """One drawn input: everything that decides what a layer is run on.

    Args:
        spec: the layer.
        dtype: of every tensor.
        device: "cpu" or "cuda".
        seq_len: steps.
        batch: sequences; 1 where unbatched.
        seed: of every tensor, see `draw`.
        weight_scale: of every weight's normal distribution; biases have scale 1.
        input_scale: of the input's, and up to `LARGE` of c_0's: a cell that only many steps would fill.
        batched: False for an input without a batch axis.
        lengths: of a packed batch, None where it is padded; the largest is seq_len.
        enforce_sorted: whether the packed batch is declared sorted (and then is).
        states: "given", "zeros" (given as zeros) or "absent".
        cotangents: which of output, h_n and c_n the loss depends on; none means no backward pass.
        frozen: parameters that require no gradient.
        plain_sum: whether the loss is their plain sum, whose gradient is one number, expanded.
        input_grad: whether the input requires a gradient.
        state_grad: whether h_0 does.
        cell_grad: whether c_0 does.
        modes: "train" or "eval" for each call of the module; the last call is judged.
        grad_mode: of a call without a loss: "no_grad", "inference" or "grad".
        input_layout: memory layout of the input, one of `LAYOUTS`.
        state_layout: memory layout of h_0.
        cell_layout: memory layout of c_0; where one of the three is transposed, so is the cotangent of output, h_n or
            c_n.
        dropout_seed: the global seed before the judged call, which decides what dropout draws.
        final_states: whether h_n and c_n are looked at.
        nonfinite: (name, index, value) of a NaN or infinity put into an argument or a parameter, the index counting
            its elements in the order of a padded, time-major batch.
    """

    spec: LayerSpec
    dtype: torch.dtype
    device: str
    seq_len: int
    batch: int
    seed: int
    weight_scale: float = 1.0
    input_scale: float = 1.0
    batched: bool = True
    lengths: tuple[int, ...] | None = None
    enforce_sorted: bool = False
    states: str = "given"
    cotangents: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    plain_sum: bool = False
    input_grad: bool = True
    state_grad: bool = True
    cell_grad: bool = True
    modes: tuple[str, ...] = ("train",)
    grad_mode: str = "no_grad"
    input_layout: str = "contiguous"
    state_layout: str = "contiguous"
    cell_layout: str = "contiguous"
    dropout_seed: int | None = None
    final_states: bool = True
    nonfinite: tuple[str, int, float] | None = None

    def describe(self) -> str:
        """Return the case in one line, without what keeps its default."""
        parts = [f"{name}={value}" for name, value in self.spec.arguments().items()]
        if self.spec.dialect:
            parts.append(f"dialect={', '.join(self.spec.dialect)}")
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING or value != field.default:
                parts.append(f"{field.name}={str(value).removeprefix('torch.')}")
        return f"{self.spec.kind}({', '.join(parts)})"

    def features(self) -> list[str]:
        """Return what the case has that a plainer one would not, by its name among what may be unsupported."""
        spec, layouts = self.spec, {self.input_layout, self.state_layout, self.cell_layout}
        holds = {
            "relu": spec.nonlinearity == "relu",
            "no_bias": not spec.bias,
            "proj_size": spec.proj_size > 0,
            "unbatched": not self.batched,
            "strides": layouts != {"contiguous"},
            "batch_first": spec.batch_first,
            "packed": self.lengths is not None,
            "bidirectional": spec.bidirectional,
            "num_layers": spec.num_layers > 1,
            "initial_state": self.states != "absent",
        }
        return [feature for feature, held in holds.items() if held]

    @property
    def more(self) -> int:
        """How many steps and sequences calls before the judged one have more: one, or one less in odd cases."""
        return -1 if self.seed % 2 and max(self.seq_len, self.batch) > 1 else 1

    def wants_grad(self, argument: str) -> bool:
        """Whether input, h_0 or c_0 requires a gradient in a case with a loss."""
        return {"input": self.input_grad, "h_0": self.state_grad, "c_0": self.cell_grad}[argument]


def draw(seed: int, *shape: int) -> Tensor:
    """Return standard normal numbers in float64 on the CPU, the same for the same seed and shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


_ALIKE: dict[str, Any] = {"modes": (), "grad_mode": "", "frozen": ()}  # cases that differ in these have one's tensors


def weights_of(case: Case) -> dict[str, Tensor]:
    """Return every parameter by name, float64 on the CPU, with values that the case's dtype holds exactly.

    They are the same ones at each call, for nobody to change.
    """
    return dict(_weights_of(replace(case, **_ALIKE)))


@lru_cache(maxsize=1)  # each layer asks for them again, and so does the oracle
def _weights_of(case: Case) -> dict[str, Tensor]:
    found = {}
    for index, (name, shape) in enumerate(case.spec.parameter_shapes().items()):
        values = draw(case.seed + index, *shape).mul_(case.weight_scale if name.startswith("weight") else 1.0)
        found[name] = _planted(case, name, _representable(values, case.dtype))
    return found


def tensors_of(case: Case, offset: int = 0) -> dict[str, Tensor]:
    """Return input, h_0, c_0 and the cotangents, float64 on the CPU, padded and time-major.

    Args:
        case: what was drawn.
        offset: added to every seed, for a call beside the judged one.

    Returns:
        input (seq_len, batch, input_size), h_0 and c_0 (num_layers * num_directions, batch, features) unless
        absent, and a cotangent for each name in `case.cotangents` in the shape of what it is a gradient of.
    """
    return {name: tensor.clone() for name, tensor in _tensors_of(replace(case, **_ALIKE), offset).items()}


@lru_cache(maxsize=2)  # to copy them takes less time than to draw them again
def _tensors_of(case: Case, offset: int) -> dict[str, Tensor]:
    spec, rows = case.spec, case.spec.num_layers * case.spec.num_directions
    h, c = (rows, case.batch, spec.state_size), (rows, case.batch, spec.hidden_size)
    sequence = (case.seq_len, case.batch, spec.num_directions * spec.state_size)
    shapes = {"input": (case.seq_len, case.batch, spec.input_size)}
    if case.states != "absent":
        shapes |= {"h_0": h, "c_0": c} if spec.kind == "lstm" else {"h_0": h}
    shapes |= {name: {"output": sequence, "h_n": h, "c_n": c}[name] for name in case.cotangents}
    found = {}
    for name, shape in shapes.items():
        values = draw(case.seed + offset + ROLES[name], *shape) * scale_of(case, name)
        if name in ("h_0", "c_0") and case.states == "zeros":
            values = torch.zeros(shape, dtype=torch.float64)
        if layout_of(case, name) == "expanded":  # one row for the whole batch
            values = values[:, :1].expand(shape)
        if case.plain_sum and name in case.cotangents:
            values = torch.ones(shape, dtype=torch.float64)
        found[name] = _planted(case, name, _representable(values, case.dtype))
    return found


def _planted(case: Case, name: str, values: Tensor) -> Tensor:
    """Put the case's NaN or infinity where it belongs."""
    if case.nonfinite is not None and case.nonfinite[0] == name:
        values = values.contiguous()
        values.view(-1)[case.nonfinite[1]] = case.nonfinite[2]
    return values


def scale_of(case: Case, name: str) -> float:
    """Return the scale of a tensor's normal distribution."""
    return {"input": case.input_scale, "c_0": min(case.input_scale, LARGE)}.get(name, 1.0)


def layout_of(case: Case, name: str) -> str:
    """Return the memory layout in which the tensor of that name is passed."""
    layouts = {"input": case.input_layout, "h_0": case.state_layout, "c_0": case.cell_layout}
    return layouts.get(name, "contiguous")


def _representable(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype).to(torch.float64)
