"""From tensors to kernels: the products over all steps, and between them the walk."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...sequences import placed
from ..operations.recurrence import linear_into
from . import gru, lstm, rnn
from .plans import GATES, GRADIENTS, KEPT, TILE, plan, tf32_allowed

KERNELS = {"tanh": rnn, "relu": rnn, "GRU": gru, "LSTM": lstm}
WEIGHTS = 4  # of a direction


class Walk:
    """What both passes of a call have in common.

    Args:
        cell: as that of `Call`.
        batch_sizes: of packed input, None where it is padded.
        tensors: input, states, and weight_ih, weight_hh, bias_ih, bias_hh of each direction, None where absent.

    Attributes:
        T, B, rows, H, directions: sizes.
        arguments: of both kernels, by name.
    """

    def __init__(self, cell: str, batch_sizes: Tensor | None, tensors: Sequence[Any]) -> None:
        data, h_0 = tensors[:2]
        self.cell, self.gates = cell, GATES[cell]
        self.directions, self.B, self.H = h_0.shape
        self.T = data.size(0) if batch_sizes is None else len(batch_sizes)
        self.rows = data.numel() // data.size(-1)
        at = lengths = None
        if batch_sizes is not None:
            ends = batch_sizes.cumsum(0)
            of_tiles = (batch_sizes.unsqueeze(1) > torch.arange(0, self.B, TILE)).sum(0)
            numbers = placed(torch.cat([ends.new_zeros(1), ends, of_tiles]), data.device)
            at, lengths = numbers[: self.T + 1], numbers[self.T + 1 :]
        chosen = plan(cell, self.H, data.dtype, data.dtype == torch.float32 and tf32_allowed())
        assert chosen is not None
        self.arguments = {"at": at, "lengths": lengths, "T": self.T, "B": self.B, "rows": self.rows, "H": self.H}
        self.arguments |= {"TILE": TILE, "UNITS": chosen.units, "STAGES": chosen.stages, "PRECISION": chosen.precision}
        self.arguments |= {"num_warps": chosen.warps, "maxnreg": chosen.registers} | (
            {"RELU": cell == "relu"} if self.gates == 1 else {}
        )

    def weights(self, tensors: Sequence[Any]) -> list[Any]:
        """Return those of each name, in all directions."""
        return [tensors[-WEIGHTS * self.directions :][name::WEIGHTS] for name in range(WEIGHTS)]

    def matrices(self, weight_hh: Sequence[Tensor], transposed: bool) -> Tensor:
        """Return the recurrent weights of all gates as kernels take them, (directions, gates, units, units)."""
        H, units = self.H, self.arguments["UNITS"]
        room = weight_hh[0].new_empty if units == H else weight_hh[0].new_zeros
        whole = room(self.directions, self.gates, units, units)
        for of_d, weight in zip(whole, weight_hh, strict=True):
            W = weight.reshape(self.gates, H, H)
            of_d[:, :H, :H] = W.transpose(1, 2) if transposed else W
        return whole

    def launch(self, kernel: Any, **tensors: Any) -> None:
        """Run a kernel: a program for each tile of the batch in each direction."""
        tiles = -(-self.B // TILE)
        with torch.cuda.device_of(next(t for t in tensors.values() if t is not None)):  # type: ignore[no-untyped-call]
            kernel[tiles, self.directions](**tensors, **self.arguments)


def forward(walk: Walk, tensors: Sequence[Any], keep: bool) -> tuple[list[Tensor], Tensor | None]:
    """Compute a layer.

    Args:
        walk: that of the call.
        tensors: as those of `Walk`.
        keep: whether a backward pass may follow.

    Returns:
        output, as the input, and the final states.
        what the backward pass needs of it.
    """
    data, H = tensors[0], walk.H
    states = [s.contiguous() for s in tensors[1 : -WEIGHTS * walk.directions]]
    weight_ih, weight_hh, bias_ih, bias_hh = walk.weights(tensors)
    x = data.reshape(walk.rows, data.size(-1))
    xp = data.new_empty(walk.directions, walk.rows, walk.gates * H)
    for x_of_d, weight, bias in zip(xp, weight_ih, bias_ih, strict=True):
        linear_into(x_of_d, x, weight, bias)
    W_hh_t = walk.matrices(weight_hh, transposed=True)
    b_hh = None if bias_hh[0] is None else _joined(bias_hh)
    out = data.new_empty(*data.shape[:-1], walk.directions * H)
    kept = data.new_empty(walk.directions, walk.rows, KEPT[walk.cell], H) if keep else None
    finals = [torch.empty_like(s) for s in states]
    walk.launch(
        KERNELS[walk.cell].forward, xp=xp, W_hh_t=W_hh_t, b_hh=b_hh, out=out, kept=kept,
        **dict(zip(("h_0", "c_0"), states, strict=False)), **dict(zip(("h_n", "c_n"), finals, strict=False)),
    )  # fmt: skip
    return [out, *finals], kept


def backward(
    walk: Walk, tensors: Sequence[Any], kept: Tensor, needs: Sequence[bool], cotangents: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Compute the gradients of a layer's tensors.

    Let da_ih be the gradients of W_ih x + b_ih at all steps, one row for each step of each sequence, and da_hh those of
    W_hh h_prev + b_hh: the walk finds them, and the rest is one product over all steps for each weight.

    dL/dW_ih = da_ih^T x          dL/db_ih = sum of the rows of da_ih      dL/dx = da_ih W_ih
    dL/dW_hh = da_hh^T h_prev     dL/db_hh = sum of the rows of da_hh

    Args:
        walk, tensors: those of the forward pass.
        kept: what it kept.
        needs: which gradients are asked for.
        cotangents: of output and final states, None for zero.

    Returns:
        the gradients, None where none is asked for.
    """
    data, H = tensors[0], walk.H
    states = tensors[1 : -WEIGHTS * walk.directions]
    weight_ih, weight_hh, _, _ = walk.weights(tensors)
    d_out, *d_finals = [None if d is None else d.contiguous() for d in cotangents]
    d_states = [torch.empty_like(s, memory_format=torch.contiguous_format) for s in states]
    da = data.new_empty(walk.directions, walk.rows, GRADIENTS[walk.cell] * H)
    walk.launch(
        KERNELS[walk.cell].backward, W_hh=walk.matrices(weight_hh, transposed=False), kept=kept, d_out=d_out, da=da,
        **dict(zip(("d_h_n", "d_c_n"), d_finals, strict=False)),
        **dict(zip(("d_h_0", "d_c_0"), d_states, strict=False)),
    )  # fmt: skip
    x = data.reshape(walk.rows, data.size(-1))
    da_ih = da[:, :, : walk.gates * H]
    of_hh = [slice(2 * H), slice(3 * H, 4 * H)] if walk.cell == "GRU" else [slice(None)]
    dx = None
    if needs[0]:
        dx = da_ih[0] @ weight_ih[0]
        for da_of_d, weight in zip(da_ih[1:], weight_ih[1:], strict=True):
            dx.addmm_(da_of_d, weight)
        dx = dx.view(data.shape)
    found = [dx, *(d if need else None for d, need in zip(d_states, needs[1:], strict=False))]
    for d in range(walk.directions):
        needs_W_ih, needs_W_hh, needs_b_ih, needs_b_hh = needs[1 + len(states) + WEIGHTS * d :][:WEIGHTS]
        h_prev = kept[d, :, 0]
        found += [
            da_ih[d].t() @ x if needs_W_ih else None,
            _joined([da[d, :, gates].t() @ h_prev for gates in of_hh]) if needs_W_hh else None,
            da_ih[d].sum(0) if needs_b_ih else None,
            _joined([da[d, :, gates].sum(0) for gates in of_hh]) if needs_b_hh else None,
        ]
    return found


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor after the other."""
    return tensors[0].contiguous() if len(tensors) == 1 else torch.cat(list(tensors))
