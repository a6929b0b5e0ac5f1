"""A layer that keeps the states between pieces of the sequence, and computes what lies within again."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.checkpoint import checkpoint

from ..unroll import map_state


class Checkpointed(nn.Module):
    """Run a layer over pieces of about sqrt(seq_len) steps, and over each a second time in the backward pass.

    The results are the layer's; the memory for them grows with sqrt(seq_len) beside output and input, for one more
    forward pass. The state goes from piece to piece, so the layer must have one direction.

    Args:
        layer: called like those of torch.nn, of one direction: one of these, of `manual`, or of torch.nn.

    Raises:
        ValueError: the layer is bidirectional.

    Source: Chen et al. 2016, Training deep nets with sublinear memory cost (arXiv:1604.06174)
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        if getattr(layer, "bidirectional", False):
            raise ValueError("expected a layer of one direction, got a bidirectional one")
        self.layer = layer

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Run over the whole input, from the given state or from zeros.

        Args:
            input: as the layer's, padded or packed.
            hx: initial state, as the layer's.

        Returns:
            output and final state, as the layer's.

        Raises:
            As the layer.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        time = 1 if input.dim() == 3 and getattr(self.layer, "batch_first", False) else 0
        steps = input.size(time) if input.dim() > 1 else 0
        if steps < 2:
            output, hx = self.layer(input, hx)
            return output, hx
        outputs = []
        for piece in torch.split(input, _piece_length(steps), time):
            output, hx = checkpoint(self.layer, piece, hx, use_reentrant=False)
            outputs.append(output)
        return torch.cat(outputs, time), hx

    def _forward_packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """Run over pieces of packed data; a sequence that has ended keeps its state."""
        if hx is not None and input.sorted_indices is not None:
            hx = map_state(lambda s: s.index_select(1, input.sorted_indices), hx)
        pieces = torch.split(input.batch_sizes, _piece_length(len(input.batch_sizes)))
        outputs = []
        for batch_sizes, data in zip(pieces, torch.split(input.data, [int(p.sum()) for p in pieces]), strict=True):
            going = int(batch_sizes[0])
            before = hx if hx is None else map_state(lambda s, n=going: s[:, :n].contiguous(), hx)
            output, after = checkpoint(self._on_packed, data, batch_sizes, before, use_reentrant=False)
            hx = after if hx is None else map_state(lambda s, old, n=going: torch.cat([s, old[:, n:]], 1), after, hx)
            outputs.append(output)
        if input.unsorted_indices is not None:
            hx = map_state(lambda s: s.index_select(1, input.unsorted_indices), hx)
        return PackedSequence(torch.cat(outputs), *input[1:]), hx

    def _on_packed(self, data: Tensor, batch_sizes: Tensor, hx: Any) -> tuple[Tensor, Any]:
        # Packed here: up to torch 2.11 `checkpoint` takes a PackedSequence apart.
        output, hx = self.layer(PackedSequence(data, batch_sizes), hx)
        return output.data, hx


def _piece_length(steps: int) -> int:
    return max(1, math.isqrt(steps))
