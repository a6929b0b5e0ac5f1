"""What users of PyTorch do with a layer beside calling it: each corner is a function that does it and asks for results.

The same for every layer and for torch.nn's. Results are held to the judge's bounds, which it makes of how sensitive the
equations are to rounding; derivatives along directions and per sample are made of those of the oracle, too.
"""

import copy
import importlib.util
import io
import math
import multiprocessing
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, linearize, stack_module_state, vmap
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnn_parity import manual
from rnn_parity.judge.core.bounds import bounds
from rnn_parity.manual import fused
from rnn_parity.reference.oracle import Inputs
from rnn_parity.reference.spec import LayerSpec

LAYERS = {"torch.nn": nn, "manual": manual, "manual.fused": fused}
KINDS = ("RNN", "GRU", "LSTM")
SEQ, BATCH, INPUT, HIDDEN = 2, 3, 2, 5
WIDTH = 2 * HIDDEN  # of the output: there are two directions


@dataclass(frozen=True)
class Case:
    """A layer of one kind, and what it is run on: the same numbers for every layer.

    All numbers have few digits, so that none is rounded when autocast makes bfloat16 of it.

    Args:
        layers: of `LAYERS`.
        kind: of `KINDS`.
        num_layers: how many.
    """

    layers: str
    kind: str
    num_layers: int = 2

    @property
    def options(self) -> dict[str, Any]:
        return {"num_layers": self.num_layers, "bidirectional": True, "dtype": torch.float64}

    @property
    def rows(self) -> int:
        """Of the state."""
        return 2 * self.num_layers

    @property
    def weights(self) -> dict[str, Tensor]:
        return weights(self.kind, self.num_layers, 0)

    @property
    def drawn(self) -> dict[str, Tensor]:
        return drawn(self.kind, self.num_layers)

    @property
    def builtin(self) -> "Case":
        """The same of torch.nn."""
        return replace(self, layers="torch.nn")

    @property
    def Layer(self) -> Any:
        return getattr(LAYERS[self.layers], self.kind)

    def new(self, **options: Any) -> Any:
        """Return a layer with weights of its own."""
        return self.Layer(INPUT, HIDDEN, **self.options, **options)

    def layer(self, member: int = 0) -> Any:
        """Return the layer; another `member` has other weights."""
        layer = self.new()
        layer.load_state_dict(weights(self.kind, self.num_layers, member))
        return layer

    @property
    def x(self) -> Tensor:
        return self.drawn["input"].clone()

    @property
    def state(self) -> Any:
        return of_kind(self.kind, [self.drawn[f"{s}_0"].clone() for s in names_of_state(self.kind)])

    @property
    def leaves(self) -> tuple[Tensor, Any]:
        """Input and state that require gradients."""
        state = [s.requires_grad_() for s in as_tuple(self.state)]
        return self.x.requires_grad_(), of_kind(self.kind, state)

    def holds(self, results: Any, leaves: Any = None, parameters: Any = None, member: int = 0, **more: Any) -> None:
        """Hold output and final state to their bounds, and after a backward pass the gradients.

        Args:
            results: output and final state.
            leaves: input and state that require gradients; with None there is no backward pass.
            parameters: by name, those whose gradients are held to their bounds, too.
            member: whose weights.
            more: `sample`, `zeros`, `lengths` and `dtype`, as in `truth`.
        """
        output, state = results
        found = {"output": output}
        found |= {f"{s}_n": tensor for s, tensor in zip(names_of_state(self.kind), as_tuple(state), strict=True)}
        if leaves is not None:
            loss = sum((self.drawn[name].to(tensor) * tensor).sum() for name, tensor in found.items())
            loss.backward()
            given = {"input": leaves[0]}
            given |= {f"{s}_0": t for s, t in zip(names_of_state(self.kind), as_tuple(leaves[1]), strict=True)}
            found |= {f"{name}.grad": tensor.grad for name, tensor in (given | parameters).items()}
        self.within(found, member=member, **more)

    def within(self, found: Mapping[str, Tensor], **more: Any) -> None:
        """Hold named results and gradients to their bounds."""
        expected = truth(self.kind, self.num_layers, **more)
        for name, tensor in found.items():
            assert_within(name, tensor, expected[name].truth, expected[name].limit)


def names_of_state(kind: str) -> str:
    return "hc" if kind == "LSTM" else "h"


def of_kind(kind: str, states: Any) -> Any:
    return tuple(states) if kind == "LSTM" else states[0]


def as_tuple(state: Any) -> tuple[Tensor, ...]:
    return tuple(state) if isinstance(state, tuple | list) else (state,)


def few_digits(*shape: int) -> Tensor:
    return torch.randn(*shape).bfloat16().double()


@lru_cache
def weights(kind: str, num_layers: int, member: int) -> dict[str, Tensor]:
    """Return the weights of a layer by name; another member has others."""
    torch.manual_seed(member)
    return {name: few_digits(*p.shape) for name, p in Case("torch.nn", kind, num_layers).new().named_parameters()}


@lru_cache
def drawn(kind: str, num_layers: int) -> dict[str, Tensor]:
    """Return input and states, and the loss's gradients of the results."""
    torch.manual_seed(7)
    states = names_of_state(kind)
    found = {"input": few_digits(SEQ, BATCH, INPUT), "output": few_digits(SEQ, BATCH, WIDTH)}
    return found | {f"{s}_{when}": few_digits(2 * num_layers, BATCH, HIDDEN) for s in states for when in "0n"}


@lru_cache
def truth(
    kind: str,
    num_layers: int,
    member: int = 0,
    sample: int | None = None,
    zeros: bool = False,
    lengths: tuple[int, ...] | None = None,
    dtype: torch.dtype = torch.float64,
    element: int | None = None,
) -> Any:
    """Return the judge's bound of every result and gradient.

    Args:
        kind: of `KINDS`.
        num_layers: how many.
        member: whose weights.
        sample: of this sequence of the batch alone.
        zeros: from a state of zeros.
        lengths: of the sequences, where they are packed.
        dtype: of the computation.
        element: the gradients are those of this element of the output, not of the whole loss.
    """
    rows = slice(None) if sample is None else slice(sample, sample + 1)
    numbers = {name: wide(tensor[:, rows]) for name, tensor in drawn(kind, num_layers).items()}
    cotangents = {name: numbers[name] for name in ("output", *(f"{s}_n" for s in names_of_state(kind)))}
    if element is not None:
        cotangents = {"output": np.zeros_like(numbers["output"])}
        cotangents["output"].flat[element] = 1
    states = {} if zeros else {f"{s}_0": numbers[f"{s}_0"] for s in names_of_state(kind)}
    spec = LayerSpec(kind.lower(), INPUT, HIDDEN, num_layers=num_layers, bidirectional=True)
    inputs = Inputs(numbers["input"], **states, lengths=lengths, cotangents=cotangents)
    return bounds(
        spec, {name: wide(weight) for name, weight in weights(kind, num_layers, member).items()}, inputs, dtype
    )


@lru_cache
def true_jacobian(kind: str, num_layers: int) -> tuple[Any, Any]:
    """Return the derivatives of the output by the input, a row for each element of the output, and each row's bound."""
    rows = [truth(kind, num_layers, element=element)["input.grad"] for element in range(SEQ * BATCH * WIDTH)]
    return np.stack([row.truth.ravel() for row in rows]), np.array([row.limit for row in rows])


def wide(tensor: Tensor) -> Any:  # the oracle's precision
    return tensor.detach().cpu().double().numpy().astype(np.longdouble)


def assert_within(name: str, found: Tensor, expected: Any, limit: Any) -> None:
    assert tuple(found.shape) == expected.shape, f"{name} of shape {tuple(found.shape)}, expected {expected.shape}"
    excess = (np.abs(wide(found) - expected) / limit).max()
    assert excess <= 1, f"{name}: {excess:.3g} times the bound from the truth"


def assert_jacobian(case: Case, found: Tensor) -> None:
    expected, limits = true_jacobian(case.kind, case.num_layers)
    assert_within("Jacobian", found.reshape(expected.shape), expected, limits[:, None])


def assert_derivative(case: Case, found: Tensor, direction: Tensor) -> None:
    """Hold a derivative along a direction to what the rows of the Jacobian allow."""
    expected, limits = true_jacobian(case.kind, case.num_layers)
    along = wide(direction).ravel()
    assert_within("derivative", found.reshape(-1), expected @ along, limits * np.abs(along).sum())


class Unavailable(Exception):
    """What a corner needs is not there; the message says what."""


def quiet(corner: Callable[[Case], None]) -> Callable[[Case], None]:
    """Let PyTorch warn of its own parts."""

    def quietly(case: Case) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            corner(case)

    return quietly


CORNERS: dict[str, tuple[str, Callable[[Case], None]]] = {}  # by name: its group, and what is done


def corner(group: str, title: str) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    def register(function: Callable[[Case], None]) -> Callable[[Case], None]:
        CORNERS[title] = group, quiet(function)
        return function

    return register


@dataclass(frozen=True)
class Refusal:
    """What cannot be done: the error that says so, and why in few words."""

    error: type[Exception]
    match: str
    why: str

    def meant(self, error: Exception) -> bool:
        return isinstance(error, self.error) and re.search(self.match, str(error)) is not None


def outcome(title: str, case: Case) -> str:
    """Do what a corner does, and return "yes", or "no: why" where it is refused as it was when this was written.

    Raises:
        Unavailable: something is not there that the corner needs.
        Exception: whatever else goes wrong.
    """
    _, done = CORNERS[title]
    refusal = REFUSED.get((title, case.layers))
    try:
        done(case)
    except Exception as error:
        if refusal is not None and refusal.meant(error):
            return f"no: {refusal.why}"
        raise
    return "yes"


# Transforms of torch.func


@corner("torch.func", "`vmap` over the batch")
def vmap_over_batch(case: Case) -> None:
    case.holds(vmap(case.layer(), 1, 1)(case.x, case.state))


@corner("torch.func", "`vmap` over weights (`stack_module_state`)")
def vmap_over_weights(case: Case) -> None:
    members = [case.layer(0), case.layer(1)]
    stacked, buffers = stack_module_state(members)
    x, state = case.x, case.state
    call = vmap(lambda w, b: functional_call(members[0], (w, b), (x, state)))
    output, final = call(stacked, buffers)
    for member in range(2):
        case.holds((output[member], of_kind(case.kind, [s[member] for s in as_tuple(final)])), member=member)


@corner("torch.func", "per-sample gradients (`vmap(grad)`)")
def per_sample_gradients(case: Case) -> None:
    layer = case.layer()
    cotangents = [case.drawn[name] for name in ("output", *(f"{s}_n" for s in names_of_state(case.kind)))]

    def loss(parameters: Any, x: Tensor, state: Any, *cotangents: Tensor) -> Tensor:
        output, final = functional_call(layer, parameters, (x, state))
        return sum((d * y).sum() for d, y in zip(cotangents, (output, *as_tuple(final)), strict=True))  # type: ignore[return-value]

    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    found = vmap(grad(loss), (None, 1, 1, *(1 for _ in cotangents)))(parameters, case.x, case.state, *cotangents)
    for sample in range(BATCH):
        case.within({f"{name}.grad": gradient[sample] for name, gradient in found.items()}, sample=sample)


@corner("torch.func", "`jvp`")
def forward_mode(case: Case) -> None:
    layer, state = case.layer(), case.state
    direction = case.drawn["input"].flip(0)
    assert_derivative(case, jvp(lambda x: layer(x, state)[0], (case.x,), (direction,))[1], direction)


@corner("torch.func", "`linearize`")
def linearized(case: Case) -> None:
    layer, state = case.layer(), case.state
    direction = case.drawn["input"].flip(0)
    _, derivative = linearize(lambda x: layer(x, state)[0], case.x)
    assert_derivative(case, derivative(direction), direction)


@corner("torch.func", "`jacrev`")
def jacobian_in_reverse_mode(case: Case) -> None:
    layer, state = case.layer(), case.state
    assert_jacobian(case, jacrev(lambda x: layer(x, state)[0])(case.x))


@corner("torch.func", "`jacfwd`")
def jacobian_in_forward_mode(case: Case) -> None:
    layer, state = case.layer(), case.state
    assert_jacobian(case, jacfwd(lambda x: layer(x, state)[0])(case.x))


@corner("torch.func", "`functional_call`")
def other_weights(case: Case) -> None:
    layer = case.layer(1)
    parameters = {name: weight.clone().requires_grad_() for name, weight in case.weights.items()}
    leaves = case.leaves
    case.holds(functional_call(layer, parameters, leaves), leaves, parameters)


# Compiling and exporting


def compiled(case: Case, **options: Any) -> None:
    torch.compiler.reset()
    layer, leaves = case.layer(), case.leaves
    results = torch.compile(layer, fullgraph=True, **options)(*leaves)
    case.holds(results, leaves, dict(layer.named_parameters()))


@corner("compiling", "`torch.compile(fullgraph=True)`, forward and backward, `aot_eager`")
def compiled_eagerly(case: Case) -> None:
    compiled(case, backend="aot_eager")


@corner("compiling", "the same by `inductor`")
def compiled_by_inductor(case: Case) -> None:
    if not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++", "cl"))):
        raise Unavailable("no C++ compiler")
    compiled(replace(case, num_layers=1), backend="inductor")


@corner("compiling", "one compilation for all batch sizes")
def compiled_once(case: Case) -> None:
    torch.compiler.reset()
    layer, graphs = case.layer(), []

    def counted(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    call = torch.compile(layer, fullgraph=True, dynamic=True, backend=counted)
    for copies in (3, 4):
        results = call(*repeated(case, copies))
        case.holds(first_of(case, results, copies))
    assert len(graphs) == 1, "compiled again for another batch size"


def repeated(case: Case, copies: int) -> tuple[Tensor, Any]:
    """Return input and state, the batch several times over."""
    return case.x.repeat(1, copies, 1), of_kind(case.kind, [s.repeat(1, copies, 1) for s in as_tuple(case.state)])


def first_of(case: Case, results: Any, copies: int) -> Any:
    output, state = results
    assert output.shape[1] == copies * BATCH
    return output[:, :BATCH], of_kind(case.kind, [s[:, :BATCH] for s in as_tuple(state)])


@corner("compiling", "`torch.export`, any batch size")
def exported(case: Case) -> None:
    batch = torch.export.Dim("batch", min=2)
    state = of_kind(case.kind, [{1: batch} for _ in names_of_state(case.kind)])
    program = torch.export.export(case.layer(), repeated(case, 3), dynamic_shapes=({1: batch}, state))
    case.holds(first_of(case, program.module()(*repeated(case, 4)), 4))


@corner("compiling", "`torch.export`, any batch size, without a state")
def exported_without_state(case: Case) -> None:
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(case.layer(), (repeated(case, 3)[0],), dynamic_shapes=({1: batch},))
    case.holds(first_of(case, program.module()(repeated(case, 4)[0]), 4), zeros=True)


@corner("compiling", "`torch.export`, any number of steps")
def exported_for_all_lengths(case: Case) -> None:
    state = of_kind(case.kind, [None for _ in names_of_state(case.kind)])
    longer = torch.cat([case.x] * 3), case.state
    program = torch.export.export(case.layer(), longer, dynamic_shapes=({0: torch.export.Dim("seq", min=2)}, state))
    case.holds(program.module()(case.x, case.state))


@corner("compiling", "ONNX and back (`torch.onnx.export`, onnxruntime)")
def through_onnx(case: Case) -> None:
    for module in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(module) is None:
            raise Unavailable(f"{module} is not installed")
    import onnxruntime

    layer = case.layer().float()
    given = tuple(t.float() for t in (case.x, *as_tuple(case.state)))
    hx = of_kind(case.kind, given[1:])
    with TemporaryDirectory() as folder:
        path = str(Path(folder, "layer.onnx"))
        torch.onnx.export(layer, (given[0], hx), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feeds = {node.name: t.numpy() for node, t in zip(session.get_inputs(), given, strict=True)}
        output, *state = (torch.from_numpy(found) for found in session.run(None, feeds))
    case.holds((output, of_kind(case.kind, state)), dtype=torch.float32)


@corner("compiling", "`torch.jit.trace`")
def traced(case: Case) -> None:
    example = case.x.flip(0), of_kind(case.kind, [s.flip(0) for s in as_tuple(case.state)])
    layer, leaves = case.layer(), case.leaves
    case.holds(torch.jit.trace(layer, example)(*leaves), leaves, dict(layer.named_parameters()))


@corner("compiling", "`torch.jit.trace`, any number of steps")
def traced_for_all_lengths(case: Case) -> None:
    traced = torch.jit.trace(case.layer(), (torch.cat([case.x] * 3), case.state))
    case.holds(traced(case.x, case.state))


class OnTensor(nn.Module):
    """Has a layer run on a tensor: TorchScript wants to know which of the two forms of its input is meant."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x, state)  # type: ignore[no-any-return]


class OnTensorOfLSTM(OnTensor):
    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        return self.layer(x, state)  # type: ignore[no-any-return]


@corner("compiling", "`torch.jit.script`")
def scripted(case: Case) -> None:
    layer, leaves = case.layer(), case.leaves
    module = (OnTensorOfLSTM if case.kind == "LSTM" else OnTensor)(layer)
    case.holds(torch.jit.script(module)(*leaves), leaves, dict(layer.named_parameters()))


# Modules


class Doubled(nn.Module):
    def forward(self, half: Tensor) -> Tensor:
        return 2 * half

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / 2


@corner("modules", "`parametrize`")
def parametrized(case: Case) -> None:
    layer, leaves = case.layer(), case.leaves
    nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", Doubled())
    case.holds(layer(*leaves), leaves, {})
    half = layer.parametrizations.weight_hh_l0.original
    case.within({"weight_hh_l0.grad": half.grad / 2})  # a power of two: no digit changes


@corner("modules", "`weight_norm`")
def weight_normed(case: Case) -> None:
    layer, leaves = case.layer(), case.leaves
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.no_grad():  # the norm times the direction is the weight again but for rounding: see to it that it is
        parts = layer.parametrizations.weight_hh_l0
        parts.original0.fill_(1)
        unit = torch.zeros_like(parts.original1)
        unit[:, 0] = 4
        parts.original1.copy_(unit)
    twin = case.layer()
    with torch.no_grad():
        twin.weight_hh_l0.copy_(unit / 4)
    results, expected = layer(*leaves), twin(case.x, case.state)
    for ours, theirs in zip((results[0], *as_tuple(results[1])), (expected[0], *as_tuple(expected[1])), strict=True):
        assert torch.equal(ours, theirs)
    results[0].sum().backward()
    assert parts.original0.grad.any()


@corner("modules", "`deepcopy`, `pickle`")
def copied(case: Case) -> None:
    layer = case.layer()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        leaves = case.leaves
        case.holds(twin(*leaves), leaves, dict(twin.named_parameters()))
    assert all(parameter.grad is None for parameter in layer.parameters())


@corner("modules", "`torch.save`, `torch.load`, from and to torch.nn")
def saved(case: Case) -> None:
    for source, target in ((case, case.builtin), (case.builtin, case)):
        file, layer = io.BytesIO(), target.layer(1)
        torch.save(source.layer().state_dict(), file)
        file.seek(0)
        layer.load_state_dict(torch.load(file, weights_only=True))
        case.holds(layer(case.x, case.state))


@corner("modules", "hooks: forward, its arguments, the gradients")
def hooked(case: Case) -> None:
    layer, seen = case.layer(1), dict[str, Any]()
    layer.register_forward_pre_hook(lambda module, arguments: (2 * arguments[0], *arguments[1:]))
    layer.register_forward_hook(lambda module, arguments, results: (2 * results[0], results[1]))
    layer.register_full_backward_hook(lambda module, inputs, outputs: seen.update(inputs=inputs, outputs=outputs))
    layer.load_state_dict(case.weights)
    leaves = (case.x / 2).requires_grad_(), case.state
    output, state = layer(*leaves)
    case.holds((output / 2, state))
    cotangent = case.drawn["output"]
    output.backward(cotangent / 2)
    assert torch.equal(seen["outputs"][0], cotangent / 2)
    assert torch.equal(2 * seen["inputs"][0], leaves[0].grad)


@corner("modules", "meta device: shapes, then `to_empty`")
def on_meta(case: Case) -> None:
    layer = case.new(device="meta")
    output, state = layer(case.x.to("meta"))
    assert output.is_meta
    assert output.shape == (SEQ, BATCH, WIDTH)
    assert [s.shape for s in as_tuple(state)] == [(case.rows, BATCH, HIDDEN)] * len(names_of_state(case.kind))
    loaded(case, layer.to_empty(device="cpu"))


@corner("modules", "`skip_init`")
def uninitialised(case: Case) -> None:
    loaded(case, nn.utils.skip_init(case.Layer, INPUT, HIDDEN, **case.options))


def loaded(case: Case, layer: Any) -> None:
    layer.load_state_dict(case.weights)
    case.holds(layer(case.x, case.state))


@corner("modules", "`flatten_parameters`, `all_weights`")
def flattened(case: Case) -> None:
    layer, leaves = case.layer(), case.leaves
    layer.flatten_parameters()
    assert [[*map(id, row)] for row in layer.all_weights] == list(rows_of(map(id, layer.parameters()), case.rows))
    case.holds(layer(*leaves), leaves, dict(layer.named_parameters()))


def rows_of(items: Any, rows: int) -> Iterator[list[Any]]:
    every = list(items)
    size = math.ceil(len(every) / rows)
    return (every[start : start + size] for start in range(0, len(every), size))


@corner("modules", "`share_memory`")
def shared(case: Case) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        raise Unavailable("no process can be forked")
    layer = case.layer(1).share_memory()
    assert all(parameter.is_shared() for parameter in layer.parameters())
    process = multiprocessing.get_context("fork").Process(target=layer.load_state_dict, args=(case.weights,))
    process.start()
    process.join()
    case.holds(layer(case.x, case.state))


@corner("modules", "`to(dtype)`: float32, bfloat16, float16")
def moved(case: Case) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        layer = case.layer().to(dtype)
        state = of_kind(case.kind, [s.to(dtype) for s in as_tuple(case.state)])
        results = layer(case.x.to(dtype), state)
        assert results[0].dtype == dtype
        case.holds(results, dtype=dtype)


# Autocast


def autocasting(case: Case, device: str, dtype: torch.dtype) -> None:
    """Run a layer of float32 under autocast, and ask for the dtypes of torch.nn and results within those of `dtype`."""
    # None: not packed. Packed sequences of one length are left out: torch.nn of torch 2.11 runs them in another dtype.
    for lengths in (None, [SEQ, *[1] * (BATCH - 1)]):
        ours, theirs = (autocast(of, device, dtype, lengths) for of in (case, case.builtin))
        assert ours == theirs, f"{ours} where torch.nn gives {theirs}, of lengths {lengths}"


def autocast(case: Case, device: str, dtype: torch.dtype, lengths: list[int] | None) -> list[torch.dtype]:
    """Run the layer, hold its results to their bounds, and return their dtypes."""
    layer = case.layer().float().to(device)
    input: Any = case.x.float().to(device)
    state = of_kind(case.kind, [s.float().to(device) for s in as_tuple(case.state)])
    if lengths is not None:
        input = pack_padded_sequence(input, lengths)
    with torch.autocast(device, dtype):
        output, final = layer(input, state)
    if lengths is not None:
        output, _ = pad_packed_sequence(output)
    case.holds((output, final), dtype=dtype, lengths=lengths and tuple(lengths))
    output.float().sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in layer.parameters())
    return [tensor.dtype for tensor in (output, *as_tuple(final))]


@corner("autocast", "bfloat16 on the CPU, with torch.nn's dtypes")
def autocast_bfloat16(case: Case) -> None:
    autocasting(case, "cpu", torch.bfloat16)


@corner("autocast", "bfloat16 and float16 on CUDA")
def autocast_cuda(case: Case) -> None:
    if not torch.cuda.is_available():
        raise Unavailable("no CUDA device")
    autocasting(case, "cuda", torch.float16)
    for lengths in (None, [SEQ, *[1] * (BATCH - 1)]):  # torch.nn, under both, gives cuDNN's float16
        expected = torch.float16 if case.layers == "torch.nn" else torch.bfloat16
        assert set(autocast(case, "cuda", torch.bfloat16, lengths)) == {expected}


# What cannot be done, by corner and layers: whatever comes to work is to be taken out.
NO_RULE = Refusal(RuntimeError, "Batching rule not implemented for aten::", "its kernels have no batching rule")
NO_DYNAMO = Refusal(RuntimeError, "RNN, GRU, or LSTM", "`torch.compile` takes it into no graph unless told to")
NO_LAMBDA = Refusal(
    torch.jit.frontend.FrontendError, "aren't supported", "it is composed of functions, which TorchScript does not take"
)
UNROLLED = Refusal(RuntimeError, "to be a constant|elements in a list", "every step is in the graph")
REFUSED = {
    ("`vmap` over the batch", "torch.nn"): NO_RULE,
    ("`vmap` over weights (`stack_module_state`)", "torch.nn"): NO_RULE,
    ("`linearize`", "torch.nn"): Refusal(RuntimeError, "in-place operation", "its kernels change leaves in place"),
    ("`torch.compile(fullgraph=True)`, forward and backward, `aot_eager`", "torch.nn"): NO_DYNAMO,
    ("the same by `inductor`", "torch.nn"): NO_DYNAMO,
    ("one compilation for all batch sizes", "torch.nn"): NO_DYNAMO,
    **{("`torch.export`, any number of steps", layers): UNROLLED for layers in LAYERS},
    ("`torch.jit.trace`, any number of steps", "manual"): UNROLLED,
    ("`torch.jit.trace`, any number of steps", "manual.fused"): UNROLLED,
    ("`torch.jit.script`", "manual"): NO_LAMBDA,
    ("`torch.jit.script`", "manual.fused"): NO_LAMBDA,
    ("`skip_init`", "torch.nn"): Refusal(RuntimeError, "'device' arg", "its signature does not show `device`"),
}
