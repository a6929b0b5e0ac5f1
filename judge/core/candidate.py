"""What can be judged: a layer's factory, its kind, and what it declares unsupported."""

from __future__ import annotations

import inspect
import pkgutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...reference.builtin import LAYERS, builtin_layer
from ...reference.spec import KINDS, LayerSpec, require_dialect

# What an implementation may declare unsupported. What it declares is never drawn, and a test about nothing else
# is skipped and reported as unsupported.
FEATURES = {
    "gradients": "backward pass",
    "state_gradients": "gradients of h_0 and c_0",
    "eval_gradients": "gradients in eval mode",
    "second_order": "derivatives of gradients",
    "initial_state": "a given h_0 or c_0",
    "final_state": "h_n and c_n: what is returned in their place is not looked at",
    "num_layers": "more than one layer",
    "bidirectional": "two directions",
    "packed": "PackedSequence",
    "batch_first": "batch_first=True",
    "unbatched": "input without a batch axis",
    "strides": "input and states that are not contiguous",
    "no_bias": "bias=False",
    "relu": "nonlinearity='relu'",
    "proj_size": "projections",
    "dropout": "dropout between layers",
    "seed": "torch.manual_seed for dropout",
    "zero_weights": "weights that are all exactly zero",
    "float64": "dtype float64",
    "float32": "dtype float32",
    "bfloat16": "dtype bfloat16",
    "float16": "dtype float16",
    "cpu": "device cpu",
    "cuda": "device cuda",
}

# What "only X" declares unsupported.
ONLY = {"forward": frozenset({"gradients", "second_order"})} | {
    name: frozenset(names) - {name}
    for names in (("float64", "float32", "bfloat16", "float16"), ("cpu", "cuda"))
    for name in names
}

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class ImplementationError(ValueError):
    """An implementation that does not parse, import or build; the message is one line."""


class AdapterError(Exception):
    """An adapter, and not the layer behind it, gave something else than was asked for; the message is one line."""

    of_adapter = True


@contextmanager
def part_of_adapter(function: Any) -> Iterator[None]:
    """Run a function of an adapter, and mark what is raised in its own file as the adapter's: see `is_of_adapter`."""
    try:
        yield
    except Exception as error:
        if traceback.extract_tb(error.__traceback__)[-1].filename == _file_of(function):
            error.of_adapter = True  # type: ignore[attr-defined]
        raise


def is_of_adapter(error: BaseException) -> bool:
    """Whether an exception is the fault of an adapter, and not of the layer behind it."""
    return getattr(error, "of_adapter", False)


def _file_of(function: Any) -> str | None:
    unwrapped = inspect.unwrap(getattr(function, "func", function))
    code = getattr(getattr(unwrapped, "__func__", unwrapped), "__code__", None)
    return code.co_filename if code else None


@dataclass(frozen=True)
class Implementation:
    """A recurrent layer under judgement.

    Args:
        kind: "rnn", "gru" or "lstm".
        factory: called like `torch.nn.RNN`, `GRU` or `LSTM`, returns a module that is called like it. Parameters
            are set with `load_state_dict` and their gradients read by name.
        name: how reports call it.
        location: MODULE:ATTRIBUTE, where a reproducer imports it from.
        unsupported: keys of `FEATURES`, or "only " before a dtype, a device or "forward".
        from_builtin: for a layer with other parameter names: takes the built-in and returns the layer under
            judgement with the same weights; used in place of the factory.
        gradients: beside `from_builtin`: takes the layer after backward, returns {built-in name: gradient}; a name
            that is left out is not compared.
        dialect: keys of `rnn_parity.reference.DIALECTS`, where the layer differs from torch.nn by design.
        draws_like_builtin: whether dropout takes its random numbers in the built-in's order (padded input, CPU):
            then it is held to the exact result too.

    Raises:
        ImplementationError: unknown kind or unknown unsupported feature.
    """

    kind: str
    factory: Callable[..., nn.Module]
    name: str
    location: str | None = None
    unsupported: frozenset[str] = frozenset()
    from_builtin: Callable[[nn.Module], nn.Module] | None = None
    gradients: Callable[[nn.Module], Mapping[str, torch.Tensor | None]] | None = None
    dialect: tuple[str, ...] = ()
    draws_like_builtin: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ImplementationError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        try:
            require_dialect(self.kind, self.dialect)
        except ValueError as error:
            raise ImplementationError(f"{self.name}: {error}") from error
        object.__setattr__(self, "unsupported", _spelled_out(self.unsupported))
        unknown = set(self.unsupported) - set(FEATURES)
        if unknown:
            raise ImplementationError(
                f"{self.name} declares {', '.join(sorted(unknown))} unsupported; known are {', '.join(FEATURES)}, "
                f"and only {', only '.join(ONLY)}"
            )

    def supports(self, feature: str) -> bool:
        """Whether the feature is not declared unsupported."""
        return feature not in self.unsupported

    def build(self, builtin: nn.RNNBase, spec: LayerSpec) -> nn.Module:
        """Build the layer under judgement on the built-in's device, in its dtype, with its weights.

        Args:
            builtin: the built-in with the weights of the case.
            spec: what the built-in was built from.
        """
        if self.from_builtin is not None:
            with part_of_adapter(self.from_builtin):
                return self._module(self.from_builtin(builtin))
        like = builtin.weight_ih_l0
        layer = self._module(self.factory(**spec.arguments(), device=like.device, dtype=like.dtype))
        layer.load_state_dict(builtin.state_dict())
        return layer

    def _module(self, built: Any) -> nn.Module:
        if not isinstance(built, nn.Module):
            raise ImplementationError(f"expected {self.name} to return a torch.nn.Module, got {type(built).__name__}")
        return built

    def gradients_of(self, layer: nn.Module) -> Mapping[str, torch.Tensor | None]:
        """Return the gradient of every parameter under its built-in name, None where there is none.

        A name that an adapter leaves out is not compared.
        """
        if self.gradients is not None:
            with part_of_adapter(self.gradients):
                return self.gradients(layer)
        return {name: parameter.grad for name, parameter in layer.named_parameters()}


def implementation_from(target: Any, kind: str, location: str | None = None) -> Implementation:
    """Make an `Implementation` of a class, a factory, an adapter or MODULE:ATTRIBUTE.

    Args:
        target: a callable with the constructor of `torch.nn`'s layer; or an object with `from_builtin` and
            `gradients`; or an `Implementation`; or a text MODULE:ATTRIBUTE that names one of these. Attributes
            `parity_unsupported` and `parity_dialect` of it are what it declares, see `Implementation`.
        kind: "rnn", "gru" or "lstm".
        location: MODULE:ATTRIBUTE of the target, where it is known.

    Raises:
        ImplementationError: the text does not parse or import, or the target is nothing that can build a layer.
    """
    if isinstance(target, str):
        return implementation_from(_imported(target), kind, target)
    if isinstance(target, Implementation):
        if target.kind != kind:
            raise ImplementationError(f"{target.name} is of kind {target.kind}, not {kind}")
        return target
    location = location or _location(target)
    name = location or repr(target)
    adapter = hasattr(target, "from_builtin")
    if adapter and not hasattr(target, "gradients"):
        raise ImplementationError(f"{name} has from_builtin but not gradients(layer) -> {{built-in name: tensor}}")
    if not adapter and not callable(target):
        raise ImplementationError(f"expected a layer class, a factory or an adapter, got {name} = {target!r:.80}")
    return Implementation(
        kind,
        LAYERS[kind] if adapter and kind in LAYERS else target,
        name,
        location,
        frozenset(_listed(target, "parity_unsupported")),
        target.from_builtin if adapter else None,
        target.gradients if adapter else getattr(target, "parity_gradients", None),
        _listed(target, "parity_dialect"),
        bool(getattr(target, "parity_draws_like_builtin", target in LAYERS.values())),
    )


def _listed(target: Any, attribute: str) -> tuple[str, ...]:
    declared = getattr(target, attribute, ())
    return (declared,) if isinstance(declared, str) else tuple(declared or ())


def _spelled_out(unsupported: Iterable[str]) -> frozenset[str]:
    """Return features, with those that each "only X" leaves out in its place."""
    only = {f"only {name}": left_out for name, left_out in ONLY.items()}
    return frozenset().union(*(only.get(name, {name}) for name in unsupported))


def parse_implementation(text: str) -> tuple[str, str]:
    """Return kind and location of KIND=MODULE:ATTRIBUTE, such as gru=my_pkg.layers:MyGRU.

    Raises:
        ImplementationError: the text does not parse, or the kind does not exist.
    """
    kind, equals, location = text.partition("=")
    if not equals or kind not in KINDS:
        raise ImplementationError(f"expected KIND=MODULE:ATTRIBUTE with KIND one of {', '.join(KINDS)}, got {text!r}")
    _require_location(location)
    return kind, location


def most_precise(implementation: Implementation) -> torch.dtype | None:
    """Return the first dtype of `DTYPES` that an implementation supports, None where it supports none."""
    return next((dtype for name, dtype in DTYPES.items() if implementation.supports(name)), None)


def kind_named(name: str) -> str | None:
    """Return the one kind that the name of a class holds, MyGRU for one; None where it is none or not clear."""
    kinds = [kind for kind in KINDS if kind in name.lower()]
    return kinds[0] if len(kinds) == 1 else None


def dtype_named(name: str) -> torch.dtype:
    """Return the dtype of that name.

    Raises:
        ValueError: it is none of the four that are judged.
    """
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {name!r}")
    return DTYPES[name]


def missing_device(device: str) -> str | None:
    """Return why a device cannot be used here, None where it can.

    Raises:
        ValueError: PyTorch knows no such device.
    """
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be one that PyTorch names, such as cpu or cuda, got {device!r}") from error
    if place.type == "cuda":  # of which nothing is allocated: that would take a share of it for good
        if not torch.cuda.is_available():
            return "no CUDA device: torch.cuda.is_available() is False"
        count = torch.cuda.device_count()
        return None if (place.index or 0) < count else f"no device {device}: torch.cuda.device_count() is {count}"
    try:
        torch.empty(1, device=device)
    except Exception as error:  # each backend has its own way to be absent
        return f"no device {device}: {' '.join(str(error).split())}"
    return None


def require_buildable_somewhere(implementation: Implementation, places: Iterable[tuple[str, torch.dtype]]) -> None:
    """Build the smallest layer on the first of these devices and dtypes that the implementation supports.

    Raises:
        ImplementationError: see `require_buildable`.
    """
    for device, dtype in places:
        if all(map(implementation.supports, (torch.device(device).type, str(dtype).removeprefix("torch.")))):
            return require_buildable(implementation, device, dtype)


def require_buildable(implementation: Implementation, device: str, dtype: torch.dtype) -> None:
    """Build the smallest layer, so that one that cannot be built is refused before anything is judged.

    Raises:
        ImplementationError: building it raised, or gave something else than a module; the message is one line.
    """
    spec = LayerSpec(implementation.kind, 2, 3)
    try:
        implementation.build(builtin_layer(spec, device=device, dtype=dtype), spec)
    except ImplementationError:
        raise
    except (Exception, SystemExit) as error:  # whatever a constructor raises
        raise ImplementationError(
            f"expected {implementation.name} to build like torch.nn.{spec.kind.upper()}(2, 3), got {one_line(error)}"
        ) from error


def one_line(error: BaseException) -> str:
    """Return an exception's class and message in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _require_location(text: str) -> None:
    module, colon, attribute = text.partition(":")
    if not (module and colon and attribute):
        raise ImplementationError(f"expected MODULE:ATTRIBUTE, got {text!r}")


def _imported(location: str) -> Any:
    _require_location(location)
    try:
        return pkgutil.resolve_name(location)
    except (Exception, SystemExit) as error:  # whatever a module raises while it is imported
        raise ImplementationError(
            f"expected MODULE:ATTRIBUTE that imports, got {location!r}: {one_line(error)}"
        ) from error


def _location(target: Any) -> str | None:
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    return f"{module}:{name}" if module and name and "<locals>" not in name else None
