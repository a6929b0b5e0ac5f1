"""What can be judged: a layer's factory, its kind, and what it declares unsupported."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...reference.builtin import LAYERS, builtin_layer
from ...reference.spec import KINDS, LayerSpec

# What an implementation may declare unsupported. What it declares is never drawn, and a test about nothing else
# is skipped and reported as unsupported.
FEATURES = {
    "gradients": "backward pass",
    "second_order": "derivatives of gradients",
    "initial_state": "a given h_0 or c_0",
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
    "float64": "dtype float64",
    "float32": "dtype float32",
    "bfloat16": "dtype bfloat16",
    "float16": "dtype float16",
    "cpu": "device cpu",
    "cuda": "device cuda",
}


DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class ImplementationError(ValueError):
    """An implementation that does not parse, import or build; the message is one line."""


@dataclass(frozen=True)
class Implementation:
    """A recurrent layer under judgement.

    Args:
        kind: "rnn", "gru" or "lstm".
        factory: called like `torch.nn.RNN`, `GRU` or `LSTM`, returns a module that is called like it. Parameters
            are set with `load_state_dict` and their gradients read by name.
        name: how reports call it.
        location: MODULE:ATTRIBUTE, where a reproducer imports it from.
        unsupported: keys of `FEATURES`.
        from_builtin: for a layer with other parameter names: takes the built-in and returns the layer under
            judgement with the same weights; used in place of the factory.
        gradients: beside `from_builtin`: takes the layer after backward, returns {built-in name: gradient}.
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
    draws_like_builtin: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ImplementationError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        unknown = set(self.unsupported) - set(FEATURES)
        if unknown:
            raise ImplementationError(
                f"{self.name} declares {', '.join(sorted(unknown))} unsupported; known are {', '.join(FEATURES)}"
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
        """Return the gradient of every parameter under its built-in name, None where there is none."""
        if self.gradients is not None:
            return self.gradients(layer)
        return {name: parameter.grad for name, parameter in layer.named_parameters()}


def implementation_from(target: Any, kind: str, location: str | None = None) -> Implementation:
    """Make an `Implementation` of a class, a factory, an adapter or MODULE:ATTRIBUTE.

    Args:
        target: a callable with the constructor of `torch.nn`'s layer; or an object with `from_builtin` and
            `gradients`; or an `Implementation`; or a text MODULE:ATTRIBUTE that names one of these. An attribute
            `parity_unsupported` of it, a collection of keys of `FEATURES`, is what it declares unsupported.
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
    adapter, unsupported = hasattr(target, "from_builtin"), getattr(target, "parity_unsupported", ())
    if adapter and not hasattr(target, "gradients"):
        raise ImplementationError(f"{name} has from_builtin but not gradients(layer) -> {{built-in name: tensor}}")
    if not adapter and not callable(target):
        raise ImplementationError(f"expected a layer class, a factory or an adapter, got {name} = {target!r:.80}")
    return Implementation(
        kind,
        LAYERS[kind] if adapter and kind in LAYERS else target,
        name,
        location,
        frozenset([unsupported] if isinstance(unsupported, str) else unsupported or ()),
        target.from_builtin if adapter else None,
        target.gradients if adapter else None,
        bool(getattr(target, "parity_draws_like_builtin", target in LAYERS.values())),
    )


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
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"device must be one that PyTorch names, such as cpu or cuda, got {device!r}") from error
    if kind == "cuda" and not torch.cuda.is_available():
        return "no CUDA device: torch.cuda.is_available() is False"
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
            f"expected {implementation.name} to build like torch.nn.{spec.kind.upper()}(2, 3), got {_one_line(error)}"
        ) from error


def _one_line(error: BaseException) -> str:
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
            f"expected MODULE:ATTRIBUTE that imports, got {location!r}: {_one_line(error)}"
        ) from error


def _location(target: Any) -> str | None:
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", None)
    return f"{module}:{name}" if module and name and "<locals>" not in name else None
