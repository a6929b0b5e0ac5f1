"""Faults of dropout between layers.

Equivalent, and so not here: what is dropped and what is kept exchanged at p = 0.5, where both have one distribution.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import dropout

from rnn_parity.bench.plain import PlainLayer

from .catalogue import ALL, defect

Right = Callable[..., Any]


def _kept_by(generator: torch.Generator, layer: PlainLayer, x: Tensor) -> Tensor:
    """Return x with dropout that draws from a generator of its own."""
    p = layer.spec.dropout
    if not layer.training or p in (0, 1):
        return dropout(x, p, layer.training)
    return x * (torch.rand(x.shape, generator=generator).to(x.device) >= p) / (1 - p)


def _in_eval_after_train(layer: PlainLayer, right: Right, x: Tensor) -> Tensor:
    layer.trained = layer.training or getattr(layer, "trained", False)
    return dropout(x, layer.spec.dropout, layer.trained)


def _another_in_backward(layer: PlainLayer, right: Right, x: Tensor) -> Tensor:
    kept, other = right(x), right(x)
    return other + (kept - other).detach()


def _mask_of_first_call(layer: PlainLayer, right: Right, x: Tensor) -> Tensor:
    if not layer.training:
        return x
    masks = vars(layer).setdefault("masks", {})
    if x.shape not in masks:
        masks[x.shape] = right(torch.ones_like(x))
    return x * masks[x.shape]


def _after_the_last(layer: PlainLayer, right: Right, x: Tensor, input: Any, lengths: Tensor) -> Any:
    return right(dropout(x, layer.spec.dropout, layer.training), input, lengths)


def _after_a_single(layer: PlainLayer, right: Right, x: Tensor, input: Any, lengths: Tensor) -> Any:
    p = layer.spec.dropout if layer.spec.num_layers == 1 and layer.spec.dropout < 1 else 0.0
    return right(dropout(x, p, layer.training), input, lengths)


def _sparing_a_row(layer: PlainLayer, right: Right, x: Tensor) -> Tensor:
    kept = right(x)
    return torch.cat([x[:, :1], kept[:, 1:]], dim=1) if layer.training and layer.spec.dropout < 1 else kept


OWN = torch.Generator()


DEFECTS = (
    defect("dropout ignored by backward", "pytorch#190056", ALL,
           between_layers=lambda layer, right, x: x + (right(x) - x).detach()),
    defect("another dropout mask in backward", "ROCm#6339", ALL, between_layers=_another_in_backward),
    defect("dropout mask of the first call in later ones", "near ROCm#6339", ALL, between_layers=_mask_of_first_call),
    defect("dropout in eval after training", "pytorch#180744", ALL, between_layers=_in_eval_after_train),
    defect("dropout in eval", "known-defects: dropout in eval", ALL,
           between_layers=lambda layer, right, x: dropout(x, layer.spec.dropout, training=True)),
    defect("dropout after the last layer", "known-defects: dropout after the last layer", ALL, pack=_after_the_last),
    defect("dropout after a single layer", "near known-defects: dropout after the last layer", ALL,
           pack=_after_a_single),
    defect("dropout not rescaled", "known-defects: dropout not rescaled", ALL,
           between_layers=lambda layer, right, x: right(x) * (1 - layer.spec.dropout if layer.training else 1)),
    defect("dropout not reproducible", "pytorch#18110, pytorch#90168", ALL,
           between_layers=lambda layer, right, x: _kept_by(OWN, layer, x)),
    defect("dropout of one mask", "near pytorch#180744", ALL,
           between_layers=lambda layer, right, x: _kept_by(torch.Generator().manual_seed(0), layer, x)),
    defect("dropout shared over steps", "near known-defects: dropout not rescaled", ALL,
           between_layers=lambda layer, right, x: x * right(torch.ones_like(x[:1]))),
    defect("dropout spares the first row", "near known-defects: dropout not rescaled", ALL,
           between_layers=_sparing_a_row),
)  # fmt: skip
