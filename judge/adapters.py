"""Layers of other frameworks as layers of `torch.nn`: one function over their arrays is all that an adapter needs.

    def run(weights, input, h_0, c_0, lengths):
        ...
        return output, h_n, c_n

    gru = layer("gru", run)

`gru` is a class with the constructor, the parameters and the call of `torch.nn.GRU`, whose steps `run` computes; it is
judged as any layer is. With `vjp` beside `run` it has a backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..reference.builtin import LAYERS
from ..reference.spec import GATES, KINDS, LETTERS, LayerSpec, require_dialect
from .core.candidate import AdapterError, part_of_adapter

__all__ = ["AdapterError", "Weights", "layer", "through"]

Run = Callable[..., Any]


class Weights(dict[str, Any]):
    """Parameters by name, as arrays.

    Args:
        arrays: weight_ih (gates * hidden_size, input_size), weight_hh (gates * hidden_size, hidden_size or proj_size),
            bias_ih and bias_hh (gates * hidden_size), weight_hr (proj_size, hidden_size); one that the layer lacks is
            not there, and where its dialect has one bias that is `bias`.
        spec: the whole layer: sizes, nonlinearity and the other options.
        training: whether it is in training mode.
    """

    def __init__(self, arrays: Mapping[str, Any], spec: LayerSpec, training: bool = True) -> None:
        super().__init__(arrays)
        self.spec, self.training = spec, training
        self.left_out: set[str] = set()  # of what `vjp` gave


def through(run: Run, vjp: Run | None = None, arrays: str = "numpy") -> Run:
    """Return a function of tensors, which PyTorch can differentiate, that crosses over to a function of arrays.

    Args:
        run: called with (weights, input, h_0, c_0, lengths): `Weights`, arrays, and an array of integers or None.
            Returns output, h_n and, for an LSTM, c_n; None for a state that it does not give.
        vjp: called with the same and with the gradients of output, h_n and c_n. Returns the gradients of weights
            (by name; one that is left out is not compared), input, h_0 and c_0.
        arrays: "numpy", or "torch" for detached tensors, which offer DLPack.

    Returns:
        A function called like `run`, with tensors in `weights` and elsewhere, that returns a list of three tensors.

    Raises:
        AdapterError: what comes back is no array, or what it returns has not the parts it should have.
    """
    if arrays not in ("numpy", "torch"):
        raise ValueError(f"arrays must be numpy or torch, got {arrays!r}")

    def across(weights: Weights, *arguments: Any) -> list[Tensor | None]:
        *states, lengths = arguments
        lengths = None if lengths is None else np.asarray(lengths)
        return list(_Across.apply((run, vjp, arrays, weights, lengths), *states, *weights.values()))

    return across


class _Across(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: tuple[Any, ...], *tensors: Tensor | None) -> tuple[Tensor | None, ...]:
        ctx.how, run = how, how[0]
        ctx.save_for_backward(*tensors)
        with part_of_adapter(run), torch.inference_mode(False):
            returned = run(*_arguments(how, tensors))
        found = _parts("run", returned, "output, h_n and c_n", (2, 3))
        results = [None if part is None else _tensor(part, tensors[0]) for part in (*found, None)[:3]]
        return tuple(results)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        _, vjp, arrays, weights, _ = ctx.how
        tensors = ctx.saved_tensors
        given = [None if c is None else _array(c, arrays) for c in cotangents]
        with part_of_adapter(vjp):
            returned = vjp(*_arguments(ctx.how, tensors), *given)
        of_weights, *others = _parts("vjp", returned, "gradients of weights, input, h_0 and c_0", (3, 4))
        gradients = [*others, None][:3] + [of_weights.get(name) for name in weights]
        weights.left_out = {name for name in weights if name not in of_weights}
        return None, *(None if g is None else _tensor(g, tensors[0]) for g in gradients)


def _arguments(how: tuple[Any, ...], tensors: Sequence[Tensor | None]) -> tuple[Any, ...]:
    _, _, arrays, weights, lengths = how
    given = [None if tensor is None else _array(tensor, arrays) for tensor in tensors]
    named = dict(zip(weights, given[3:], strict=True))
    return Weights(named, weights.spec, weights.training), *given[:3], lengths


def _array(tensor: Tensor, arrays: str) -> Any:
    tensor = tensor.detach().contiguous()
    if tensor.is_inference():  # which no other autograd takes
        with torch.inference_mode(False):
            tensor = tensor.clone()
    return tensor.cpu().numpy() if arrays == "numpy" else tensor


def _tensor(array: Any, like: Tensor | None) -> Tensor:
    """Return a tensor of its own, in the array's dtype."""
    try:
        if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
            array = torch.from_numpy(np.array(array))
        tensor = array if isinstance(array, Tensor) else torch.utils.dlpack.from_dlpack(array)
        return tensor.detach().clone().to(like.device if like is not None else "cpu")
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise AdapterError(f"expected an array, got {type(array).__name__}: {error}") from error


def _parts(function: str, returned: Any, names: str, counts: Collection[int]) -> Sequence[Any]:
    if not isinstance(returned, tuple | list) or len(returned) not in counts:
        came = f"{len(returned)} values" if isinstance(returned, tuple | list) else type(returned).__name__
        raise AdapterError(f"expected {function} to return {names}, got {came}")
    return returned


def layer(
    kind: str,
    run: Run,
    vjp: Run | None = None,
    *,
    gates: str | None = None,
    dialect: Collection[str] | str = (),
    unsupported: Collection[str] | str = (),
    arrays: str = "numpy",
    batch_first: bool = False,
    whole: bool = False,
) -> type[nn.RNNBase]:
    """Return a class like `torch.nn.RNN`, `GRU` or `LSTM` whose layers are computed by a function over arrays.

    Args:
        kind: "rnn", "gru" or "lstm".
        run: see `through`. It is given one layer in one direction: input (seq_len, batch, features), h_0 and c_0
            (batch, features) or None where they are zero, and returns output and states alike. Stacking, directions,
            batch_first, input without a batch axis and packing are built around it. Of a packed batch it is given
            the padded input and the lengths.
        vjp: see `through`; without it the layer has no backward pass.
        gates: the order of its gates, such as "zrn"; torch.nn's "rzn" and "ifgo" unless told.
        dialect: keys of `rnn_parity.reference.DIALECTS`.
        unsupported: what it cannot do, see `rnn_parity.judge.Implementation`.
        arrays: "numpy", or "torch" for detached tensors, which offer DLPack.
        batch_first: whether `run` wants and returns (batch, seq_len, features).
        whole: whether `run` is given all layers and directions at once: every weight under torch.nn's name, and states
            (num_layers * num_directions, batch, features).

    Raises:
        ValueError: an unknown kind, dialect or feature, or gates that are not the kind's.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if sorted(gates or LETTERS[kind]) != sorted(LETTERS[kind]):
        raise ValueError(f"gates of {kind} must be {LETTERS[kind]} in some order, got {gates!r}")
    dialect = (dialect,) if isinstance(dialect, str) else tuple(dialect)
    require_dialect(kind, dialect)
    lacking = {unsupported} if isinstance(unsupported, str) else set(unsupported)
    lacking |= {"second_order"} | ({"gradients"} if vjp is None else set())
    lacking |= {"bfloat16", "cuda"} if arrays == "numpy" else set()
    lacking |= set() if whole else {"dropout"}
    namespace: dict[str, Any] = {
        "__doc__": run.__doc__,
        "__module__": getattr(run, "__module__", __name__),
        "__qualname__": f"layer.<locals>.{kind.upper()}",  # where it is imported from, it does not know
        "kind": kind,
        "across": staticmethod(through(run, vjp, arrays)),
        "order": [LETTERS[kind].index(gate) for gate in gates or LETTERS[kind]],
        "dialect": dialect,
        "run_batch_first": batch_first,
        "whole": whole,
        "parity_dialect": dialect,
        "parity_unsupported": tuple(sorted(lacking)),
        "parity_gradients": staticmethod(_gradients),
    }
    return type(kind.upper(), (_Adapted, LAYERS[kind]), namespace)


def _gradients(adapted: Any) -> dict[str, Tensor | None]:
    return {name: p.grad for name, p in adapted.named_parameters() if name not in adapted.left_out}


class _Adapted(nn.RNNBase):
    """A layer of `torch.nn` whose forward pass is another's."""

    kind: str
    across: Run
    order: list[int]
    dialect: tuple[str, ...]
    run_batch_first: bool
    whole: bool

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.used: list[tuple[Weights, dict[str, list[str]]]] = []

    @property
    def left_out(self) -> set[str]:
        """The parameters whose gradients `vjp` did not give."""
        return {full for weights, names in self.used for name in weights.left_out for full in names[name]}

    @property
    def spec(self) -> LayerSpec:
        """What the layer was built from."""
        options = (
            field.name for field in fields(LayerSpec) if hasattr(self, field.name)
        )  # kind and dialect among them
        return LayerSpec(**{name: getattr(self, name) for name in options})

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return output and final states as the layer of `torch.nn` does."""
        lstm, lengths, batched = self.kind == "lstm", None, True
        if isinstance(input, PackedSequence):
            x, lengths = pad_packed_sequence(input)
        else:
            batched = input.dim() == 3
            x = (input.transpose(0, 1) if self.batch_first else input) if batched else input.unsqueeze(1)
        given = () if hx is None else tuple(hx) if lstm else (hx,)
        h_0, c_0 = (*(s if batched else s.unsqueeze(1) for s in given), None, None)[:2]
        self.used = []
        output, *states = (self._whole if self.whole else self._stacked)(x, h_0, c_0, lengths)
        states = [s if batched or s is None else s.squeeze(1) for s in states]
        if lengths is not None:
            output = pack_padded_sequence(output, lengths, enforce_sorted=input.sorted_indices is None)
        elif not batched:
            output = output.squeeze(1)
        elif self.batch_first:
            output = output.transpose(0, 1)
        return output, tuple(states) if lstm else states[0]

    def _stacked(self, x: Tensor, h_0: Any, c_0: Any, lengths: Any) -> tuple[Any, ...]:
        spec, h_n, c_n = self.spec, list[Any](), list[Any]()
        for index in range(spec.num_layers):
            outputs = []
            for suffix in spec.suffixes(index):
                row, back = len(h_n), suffix.endswith("_reverse")
                h, c = (None if s is None else s[row] for s in (h_0, c_0))
                read = _reversed(x, lengths) if back else x
                output, h, c = self._called([suffix], read, h, c, lengths)
                outputs.append(_reversed(output, lengths) if back else output)
                h_n.append(h)
                c_n.append(c)
            x = torch.cat(outputs, -1)
        return x, *(None if None in rows else torch.stack(rows) for rows in (h_n, c_n))

    def _whole(self, x: Tensor, h_0: Any, c_0: Any, lengths: Any) -> tuple[Any, ...]:
        spec = self.spec
        return self._called([s for k in range(spec.num_layers) for s in spec.suffixes(k)], x, h_0, c_0, lengths)

    def _called(self, suffixes: list[str], x: Tensor, h_0: Any, c_0: Any, lengths: Any) -> tuple[Any, ...]:
        """Cross over with the weights of these layers and directions, and check what comes back."""
        spec, weights, names = self.spec, Weights({}, self.spec, self.training), dict[str, list[str]]()
        for suffix in suffixes:
            end = f"_{suffix}" if self.whole else ""
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"):
                if hasattr(self, f"{name}_{suffix}"):
                    weights[name + end] = self._ordered(getattr(self, f"{name}_{suffix}"), name)
                    names[name + end] = [f"{name}_{suffix}"]
            if "one bias" in self.dialect and spec.bias:
                both = f"bias_ih{end}", f"bias_hh{end}"
                weights[f"bias{end}"] = weights.pop(both[0]) + weights.pop(both[1])
                names[f"bias{end}"] = names.pop(both[0]) + names.pop(both[1])
        self.used.append((weights, names))
        read = x.transpose(0, 1) if self.run_batch_first else x
        output, h_n, c_n = self.across(weights, read, h_0, c_0, lengths)
        output = output.transpose(0, 1) if self.run_batch_first else output
        directions = spec.num_directions if self.whole else 1
        rows = (spec.num_layers * directions,) if self.whole else ()
        expected = {
            "output": (*x.shape[:2], directions * spec.state_size),
            "h_n": (*rows, x.shape[1], spec.state_size),
            "c_n": (*rows, x.shape[1], spec.hidden_size),
        }
        for (name, shape), came in zip(expected.items(), (output, h_n, c_n), strict=True):
            if came is not None and tuple(came.shape) != shape:
                raise AdapterError(f"expected run to return {name} of shape {shape}, got {tuple(came.shape)}")
        return output, h_n, c_n

    def _ordered(self, parameter: Tensor, name: str) -> Tensor:
        if name == "weight_hr" or self.order == sorted(self.order):
            return parameter
        parts = parameter.chunk(GATES[self.kind])
        return torch.cat([parts[k] for k in self.order])


def _reversed(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each sequence of (seq_len, batch, features) within its own length."""
    if lengths is None:
        return x.flip(0)
    t, ends = torch.arange(len(x))[:, None], lengths[None]
    index = torch.where(t < ends, ends - 1 - t, t).to(x.device)
    return x.gather(0, index[..., None].expand_as(x))
