"""What the tests of the interface build: layers with the options torch.nn knows, and input they accept."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from rnn_parity.judge.subject import Subject

INPUT, HIDDEN, LAYERS, BATCH, SEQ = 3, 4, 2, 2, 5

# Options that every kind has; "own" adds the option that only this kind has.
SPECS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "layers": {"num_layers": LAYERS},
    "no bias": {"bias": False},
    "batch first": {"batch_first": True},
    "bidirectional": {"bidirectional": True},
    "dropout": {"num_layers": LAYERS, "dropout": 0.5},
    "own": {"own": True},
    "all": {
        "own": True,
        "num_layers": LAYERS,
        "bias": False,
        "batch_first": True,
        "bidirectional": True,
        "dropout": 1.0,
    },
}
OWN: dict[str, dict[str, Any]] = {"rnn": {"nonlinearity": "relu"}, "gru": {}, "lstm": {"proj_size": 2}}


def options_of(subject: Subject, spec: str) -> dict[str, Any]:
    options = dict(SPECS[spec])
    return options | OWN[subject.kind] if options.pop("own", False) else options


def build(subject: Subject, factory: Callable[..., nn.Module], **options: Any) -> Any:
    torch.manual_seed(0)
    return factory(INPUT, HIDDEN, **{"device": subject.device, "dtype": subject.dtype, **options})


def build_both(subject: Subject, spec: str) -> tuple[Any, nn.RNNBase]:
    options = options_of(subject, spec)
    return build(subject, subject.factory, **options), build(subject, subject.builtin, **options)


def tensors(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def good_input(subject: Subject, layer: nn.RNNBase, layout: str) -> tuple[Any, Any]:
    x = zeros(subject, *((BATCH, SEQ) if layer.batch_first else (SEQ, BATCH)), INPUT)
    states = layer.num_layers * (2 if layer.bidirectional else 1)
    if layout == "unbatched":
        return zeros(subject, SEQ, INPUT), state(subject, layer, states)
    if layout == "batched":
        return x, state(subject, layer, states, BATCH)
    lengths = [SEQ, 1] if layout == "packed" else [1, SEQ]
    packed = pack_padded_sequence(x, lengths, layer.batch_first, enforce_sorted=layout == "packed")
    return packed, state(subject, layer, states, BATCH)


def zeros(subject: Subject, *shape: int, **options: Any) -> Tensor:
    return torch.zeros(shape, **{"device": subject.device, "dtype": subject.dtype, **options})


def state(subject: Subject, layer: nn.RNNBase, *shape: int, more: int = 0, **options: Any) -> Any:
    """A state with these leading axes; its last tensor has so many features more than it should."""
    h = zeros(subject, *shape, layer.proj_size or HIDDEN, **options)
    last = zeros(subject, *shape, HIDDEN + more, **options)
    return (h, last) if subject.kind == "lstm" else last
