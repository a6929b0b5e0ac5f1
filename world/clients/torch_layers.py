"""The layers of torch.nn, by other ways than calling them."""

import copy
import functools
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

STATE = tuple[Tensor, Tensor]


class Run(nn.Module):
    """A layer, called by way of something that was made of it."""

    def __init__(self, layer: nn.Module, run: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.run = layer, lambda *given: run(*given)

    def forward(self, *given: Any) -> Any:
        return self.run(*given)


class By:
    """Adapter: `way` takes a copy of the built-in and returns what is called in its stead."""

    def __init__(self, way: Callable[[nn.Module], Callable[..., Any]], *unsupported: str) -> None:
        self.way, self.parity_unsupported = way, unsupported

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        layer = copy.deepcopy(builtin)
        return Run(layer, self.way(layer))

    def gradients(self, run: nn.Module) -> dict[str, Tensor | None]:
        return {name: parameter.grad for name, parameter in run.layer.named_parameters()}


def compiled(layer: nn.Module) -> Callable[..., Any]:
    """Dynamo calls torch.nn's layers as they are, unless told; what it makes of their cells is Inductor's."""
    torch._dynamo.config.recompile_limit = 1000
    torch._functorch.config.donated_buffer = False  # else no graph can be gone through twice, which it says
    torch._dynamo.reset()
    return torch.compile(layer, dynamic=True, fullgraph=isinstance(layer, nn.RNNCellBase))


def functional(layer: nn.Module) -> Callable[..., Any]:
    return lambda *given: torch.func.functional_call(layer, dict(layer.named_parameters()), given)


def checkpointed(layer: nn.Module) -> Callable[..., Any]:
    return functools.partial(torch.utils.checkpoint.checkpoint, layer, use_reentrant=False)


class ScriptedLSTM(nn.Module):
    """torch.nn's layers cannot be scripted but inside another."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor, state: STATE | None = None) -> tuple[Tensor, STATE]:
        return self.layer(input, state)


class Scripted(ScriptedLSTM):
    """RNN or GRU."""

    def forward(self, input: Tensor, state: Tensor | None = None) -> STATE:
        return self.layer(input, state)


def scripted(layer: nn.Module) -> Callable[..., Any]:
    script = torch.jit.script((ScriptedLSTM if isinstance(layer, nn.LSTM) else Scripted)(layer))
    return lambda *given: script.train(layer.training)(*given)  # the mode alone is not shared with the layer


def dynamic(layer: nn.Module, steps: int, given: tuple[Any, ...]) -> torch.export.ExportedProgram:
    """Export a layer for any number of sequences; the number of steps becomes part of the program."""
    batch, rows = 3, layer.num_layers * (1 + layer.bidirectional)
    input = (batch, steps, layer.input_size) if layer.batch_first else (steps, batch, layer.input_size)
    states = [(rows, batch, size) for size in (layer.proj_size or layer.hidden_size, layer.hidden_size)]
    x, h, c = map(layer.weight_ih_l0.new_zeros, (input, *states))
    arguments = (x, (h, c) if isinstance(layer, nn.LSTM) else h)[: len(given)]
    shapes = torch.utils._pytree.tree_map(
        lambda t: {0 if t is x and layer.batch_first else 1: torch.export.Dim("batch")}, arguments
    )
    return torch.export.export(layer, arguments, dynamic_shapes=shapes)


def exported(layer: nn.Module) -> Callable[..., Any]:
    programs: dict[Any, nn.Module] = {}

    def run(*given: Any) -> Any:
        steps = given[0].shape[1 if layer.batch_first else 0]
        key = len(given), steps, layer.training
        if key not in programs:
            programs[key] = dynamic(layer, steps, given).module()
        return torch.func.functional_call(programs[key], dict(layer.named_parameters()), given)

    return run


def autocast(layer: nn.Module) -> Callable[..., Any]:
    """Values of bfloat16, held in float32 and computed under autocast: judged by what bfloat16 allows."""

    def run(*given: Any) -> Any:
        wide = torch.utils._pytree.tree_map(lambda t: t.float(), given)
        weights = {name: parameter.float() for name, parameter in layer.named_parameters()}
        with torch.autocast("cpu", torch.bfloat16):
            results = torch.func.functional_call(layer, weights, wide)
        return torch.utils._pytree.tree_map(lambda t: t.bfloat16(), results)

    return run


def quantized(layer: nn.Module) -> Callable[..., Any]:
    """Weights of 8 bits and activations rounded to 8 bits in every call: judged by what bfloat16 allows."""
    narrow = torch.ao.quantization.quantize_dynamic(nn.ModuleList([layer.float()]), dtype=torch.qint8)[0]

    def run(*given: Any) -> Any:
        results = narrow(*torch.utils._pytree.tree_map(lambda t: t.float(), given))
        return torch.utils._pytree.tree_map(lambda t: t.bfloat16(), results)

    return run


class WithoutOneDNN:
    """Mixed in: the kernels of ATen alone."""

    def forward(self, *given: Any) -> Any:
        with torch.backends.mkldnn.flags(enabled=False):
            return super().forward(*given)


class PlainRNN(WithoutOneDNN, nn.RNN):
    parity_draws_like_builtin = True


class PlainGRU(WithoutOneDNN, nn.GRU):
    parity_draws_like_builtin = True


class PlainLSTM(WithoutOneDNN, nn.LSTM):
    parity_draws_like_builtin = True


CELLS_LACK = ("num_layers", "bidirectional", "packed", "dropout", "proj_size", "unbatched", "batch_first")


class Cells(nn.Module):
    """One of torch.nn's cells, in a loop."""

    def __init__(self, layer: nn.Module, way: Callable[[nn.Module], Callable[..., Any]]) -> None:
        super().__init__()
        options = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
        cell = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[type(layer)]
        self.cell = cell(layer.input_size, layer.hidden_size, layer.bias, dtype=layer.weight_ih_l0.dtype, **options)
        self.cell.load_state_dict({name.removesuffix("_l0"): w for name, w in layer.state_dict().items()})
        self.step = way(self.cell)

    def forward(self, input: Tensor, state: Any = None) -> Any:
        lstm, outputs = isinstance(self.cell, nn.LSTMCell), []
        state = state if state is None else (state[0][0], state[1][0]) if lstm else state[0]
        for x in input:
            state = self.step(x) if state is None else self.step(x, state)
            outputs.append(state[0] if lstm else state)
        return torch.stack(outputs), (state[0][None], state[1][None]) if lstm else state[None]


def over_weights(cell: nn.Module) -> Callable[..., Any]:
    """Run an ensemble of a cell and one of other weights at once, and return the first's results."""

    def step(*given: Any) -> Any:
        stacked = {name: torch.stack([weight, -weight]) for name, weight in cell.named_parameters()}
        results = torch.vmap(lambda weights: torch.func.functional_call(cell, weights, given))(stacked)
        return torch.utils._pytree.tree_map(lambda result: result[0], results)

    return step


def packaged(cell: nn.Module) -> Callable[..., Any]:
    """Export a cell for any number of sequences, have AOTInductor make a package of it, and load that."""
    programs: dict[Any, Any] = {}

    def step(*given: Any) -> Any:
        # A batch of 1 is a size of its own to export; and a package keeps the weights that it was made with.
        key = len(given), len(given[0]) == 1, *(parameter._version for parameter in cell.parameters())
        if key not in programs:
            batch = None if len(given[0]) == 1 else torch.export.Dim("batch")
            shapes = torch.utils._pytree.tree_map(lambda t: {0: batch}, given)
            program = torch.export.export(cell, given, dynamic_shapes=shapes)
            with tempfile.TemporaryDirectory() as folder:
                path = torch._inductor.aoti_compile_and_package(program, package_path=f"{folder}/cell.pt2")
                programs[key] = torch._inductor.aoti_load_package(path)
        return programs[key](*given)

    return step


class ByCells:
    """Adapter: unrolled cells, called by a way of their own."""

    def __init__(self, way: Callable[[nn.Module], Callable[..., Any]], *unsupported: str) -> None:
        self.way, self.parity_unsupported = way, (*CELLS_LACK, *unsupported)

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        return Cells(builtin, self.way)

    def gradients(self, cells: Cells) -> dict[str, Tensor | None]:
        return {f"{name}_l0": parameter.grad for name, parameter in cells.cell.named_parameters()}


class Same(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight + 0


class Parametrized:
    """Adapter: every parameter comes out of a parametrization that changes nothing."""

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        layer = copy.deepcopy(builtin)
        for name, _ in builtin.named_parameters():
            parametrize.register_parametrization(layer, name, Same())
        return layer

    def gradients(self, layer: nn.Module) -> dict[str, Tensor | None]:
        return {name.split(".")[1]: parameter.grad for name, parameter in layer.named_parameters()}


class WeightNormed:
    """Adapter: a weight is g v / |v| row by row, with g = |v|; its gradient is that of v plus that of g along v."""

    parity_unsupported = ("zero_weights",)

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        layer = copy.deepcopy(builtin)
        for name, _ in builtin.named_parameters():
            if name.startswith("weight"):
                parametrizations.weight_norm(layer, name)
        return layer

    def gradients(self, layer: nn.Module) -> dict[str, Tensor | None]:
        found = dict(layer.named_parameters())
        gradients = {name: parameter.grad for name, parameter in found.items() if name.startswith("bias")}
        for name in (name for name in found if name.endswith("original0")):
            g, v = found[name], found[name.replace("original0", "original1")]
            along = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
            gradients[name.split(".")[1]] = None if v.grad is None else v.grad + g.grad * along
        return gradients


class Quantizable:
    """Adapter: torch.ao.nn.quantizable.LSTM, which quantization-aware training goes by, before it is converted."""

    parity_unsupported = ("packed", "unbatched", "proj_size", "dropout")

    def from_builtin(self, builtin: nn.Module) -> nn.Module:
        nothing = torch.ao.quantization.QConfig(nn.Identity, nn.Identity)
        return torch.ao.nn.quantizable.LSTM.from_float(builtin.train(False), nothing)

    def gradients(self, layer: nn.Module) -> dict[str, Tensor | None]:
        return {
            f"{name}_{side}_l{k}{suffix}": parameter.grad
            for k, one in enumerate(layer.layers)
            for half, suffix in (("layer_fw", ""), ("layer_bw", "_reverse"))
            if hasattr(one, half)
            for side, gates in (("ih", getattr(one, half).cell.igates), ("hh", getattr(one, half).cell.hgates))
            for name, parameter in gates.named_parameters()
        }


compile = By(compiled)
compiled_cells, packaged_cells = ByCells(compiled, "second_order"), ByCells(packaged, "only forward")
functional_call = By(functional)
checkpoint = By(checkpointed)
script = By(scripted, "packed")
export = By(exported, "packed", "dropout", "unbatched")
dynamic_quantized = By(quantized, "only forward", "packed", "dropout", "proj_size", "no_bias", "unbatched")
amp = By(autocast, "packed", "dropout")
cells, vmapped_cells, ensembles = ByCells(lambda cell: cell.forward), ByCells(torch.vmap), ByCells(over_weights)
parametrized, weight_normed, quantizable = Parametrized(), WeightNormed(), Quantizable()
RNN, GRU, LSTM = nn.RNN, nn.GRU, nn.LSTM
