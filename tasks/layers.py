"""The recurrent layer that a name on the command line stands for."""

import pkgutil

import torch

from .task import LayerFactory, TaskError

ALIASES = {"builtin": "torch.nn", "manual": "rnn_parity.manual", "fused": "rnn_parity.manual.fused"}


def find_layer(name: str, kind: str, device: torch.device | str = "cpu") -> LayerFactory:
    """Return the layer that an implementation's name stands for.

    Args:
        name: "builtin", "manual", "fused" or MODULE:ATTRIBUTE.
        kind: the class an alias is asked for: "RNN", "GRU" or "LSTM".
        device: where the layer is tried.

    Returns:
        The layer's class, or whatever else builds a layer.

    Raises:
        TaskError: nothing of that name can be imported, or what it names is not a layer.
    """
    path = f"{ALIASES[name]}:{kind}" if name in ALIASES else name
    if ":" not in path:
        raise TaskError(f"expected builtin, manual, fused or MODULE:ATTRIBUTE, came {name!r}")
    try:
        layer: LayerFactory = pkgutil.resolve_name(path)
    except Exception as error:  # an import runs anybody's code
        raise TaskError(f"expected a layer that can be imported, came {path!r}: {_reason(error)}") from error
    _try(layer, path, kind, device)
    return layer


def _try(layer: LayerFactory, path: str, kind: str, device: torch.device | str) -> None:
    """Raise TaskError unless the layer answers a small input in the shape of `torch.nn.LSTM`."""
    expected = f"expected a layer like torch.nn.{kind}, came {path!r}"
    try:
        with torch.no_grad():
            output, _ = layer(3, 2, batch_first=True).to(device)(torch.zeros(1, 4, 3, device=device))
        shape = tuple(output.shape)
    except Exception as error:  # whatever it is, it is not a layer
        raise TaskError(f"{expected}: {_reason(error)}") from error
    if shape != (1, 4, 2):
        raise TaskError(f"{expected}: output of shape {shape} where (1, 4, 2) is due")


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
