"""From tensors to kernels: the products over all steps, and between them the walk."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...sequences import placed
from ..call import GATES, WEIGHTS, Call
from ..operations.recurrence import linear_into
from . import gru, lstm, rnn
from .plans import GRADIENTS, KEPT, TILE, plan, shared_memory, tf32_allowed

KERNELS = {"tanh": rnn, "relu": rnn, "GRU": gru, "LSTM": lstm}


class Walk:
    """Both passes of a call: see `Passes`.

    Args:
        call: the call.

    Attributes:
        T, B, rows, H, directions: sizes.
        width: H widened as the kernels' arrays are.
        arguments: of both kernels, by name.
    """

    def __init__(self, call: Call) -> None:
        cell, data, batch_sizes = call.cell, call.data, call.batch_sizes
        self.cell, self.gates = cell, GATES[cell]
        self.directions, self.B, self.H = call.states[0].shape
        self.width = -(-self.H // 16) * 16
        self.T = data.size(0) if batch_sizes is None else len(batch_sizes)
        self.rows = data.numel() // data.size(-1)
        at = lengths = None
        if batch_sizes is not None:
            ends = batch_sizes.cumsum(0)
            of_tiles = (batch_sizes.unsqueeze(1) > torch.arange(0, self.B, TILE)).sum(0)
            numbers = placed(torch.cat([ends.new_zeros(1), ends, of_tiles]), data.device)
            at, lengths = numbers[: self.T + 1], numbers[self.T + 1 :]
        tf32 = data.dtype == torch.float32 and tf32_allowed()
        chosen = plan(cell, self.H, data.dtype, tf32, shared_memory(data.device))
        assert chosen is not None
        self.arguments: dict[str, Any] = {"at": at, "lengths": lengths, "T": self.T, "B": self.B, "rows": self.rows}
        self.arguments |= {"H": self.H, "TILE": TILE, "UNITS": chosen.units, "BLOCKS": chosen.blocks}
        self.arguments |= {"PIECE": chosen.piece, "STAGES": chosen.stages, "PRECISION": chosen.precision}
        self.arguments |= {"num_stages": chosen.pieces, "num_warps": chosen.warps, "maxnreg": chosen.registers}
        self.arguments |= {"RELU": cell == "relu"} if self.gates == 1 else {}

    def wide(self, tensor: Tensor, axis: int) -> Tensor:
        """Return a contiguous tensor with zeros after each H numbers of an axis, as far as the kernels' arrays go."""
        if self.width == self.H:
            return tensor.contiguous()
        before, parts, after = tensor.shape[:axis], tensor.size(axis) // self.H, tensor.shape[axis + 1 :]
        found = tensor.new_zeros(*before, parts, self.width, *after)
        found.narrow(axis + 1, 0, self.H).copy_(tensor.reshape(*before, parts, self.H, *after))
        return found.view(*before, parts * self.width, *after)

    def cut(self, tensor: Tensor) -> Tensor:
        """Return a contiguous tensor without what `wide` adds to the last axis."""
        if self.width == self.H:
            return tensor
        parts = tensor.size(-1) // self.width
        found = tensor.view(*tensor.shape[:-1], parts, self.width)[..., : self.H]
        return found.reshape(*tensor.shape[:-1], parts * self.H).contiguous()

    def weights(self, tensors: Sequence[Any]) -> list[Any]:
        """Return those of each name, in all directions."""
        return [tensors[-len(WEIGHTS) * self.directions :][name :: len(WEIGHTS)] for name in range(len(WEIGHTS))]

    def matrices(self, weight_hh: Sequence[Tensor], transposed: bool) -> Tensor:
        """Return the recurrent weights of all gates as kernels take them, (directions, gates, side, side)."""
        H, side = self.H, self.arguments["UNITS"] * self.arguments["BLOCKS"]
        room = weight_hh[0].new_empty if side == H else weight_hh[0].new_zeros
        whole = room(self.directions, self.gates, side, side)
        for of_d, weight in zip(whole, weight_hh, strict=True):
            W = weight.reshape(self.gates, H, H)
            of_d[:, :H, :H] = W.transpose(1, 2) if transposed else W
        return whole

    def launch(self, kernel: Any, **tensors: Any) -> None:
        """Run a kernel: a program for each tile of the batch in each direction."""
        tiles = -(-self.B // TILE)
        with torch.cuda.device_of(next(t for t in tensors.values() if t is not None)):  # type: ignore[no-untyped-call]
            kernel[tiles, self.directions](**tensors, **self.arguments)

    def forward(self, tensors: Sequence[Any], keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        """See `Passes.forward`."""
        data, width = tensors[0], self.width
        states = [self.wide(s, 2) for s in tensors[1 : -len(WEIGHTS) * self.directions]]
        weight_ih, weight_hh, bias_ih, bias_hh, _ = self.weights(tensors)
        if bias_ih[0] is not None:
            bias_ih, bias_hh = ([self.wide(bias, 0) for bias in biases] for biases in (bias_ih, bias_hh))
        more: dict[str, Any] = {}
        if self.cell == "GRU":  # whose reset gate takes b_hn too
            more["b_hn"] = None if bias_hh[0] is None else torch.stack([bias[2 * width :] for bias in bias_hh])
            bias_hh = [None if bias is None else nn.functional.pad(bias[: 2 * width], (0, width)) for bias in bias_hh]
        x = data.reshape(self.rows, data.size(-1))
        xp = data.new_empty(self.directions, self.rows, self.gates * width)
        for x_of_d, weight, *biases in zip(xp, weight_ih, bias_ih, bias_hh, strict=True):
            linear_into(x_of_d, x, self.wide(weight, 0), *biases)
        out = data.new_empty(*data.shape[:-1], self.directions * width)
        kept = data.new_empty(self.directions, self.rows, KEPT[self.cell], width) if keep else None
        finals = [torch.empty_like(s) for s in states]
        self.launch(
            KERNELS[self.cell].forward, xp=xp, W_hh_t=self.matrices(weight_hh, transposed=True), out=out, kept=kept,
            **more, **dict(zip(("h_0", "c_0"), states, strict=False)),
            **dict(zip(("h_n", "c_n"), finals, strict=False)),
        )  # fmt: skip
        out, *finals = map(self.cut, (out, *finals))
        return [out, *finals], [] if kept is None else [kept]

    def backward(
        self,
        tensors: Sequence[Any],
        kept: Sequence[Tensor],
        needs: Sequence[bool],
        cotangents: Sequence[Tensor | None],
    ) -> list[Tensor | None]:
        """See `Passes.backward`.

        Let da_ih be the gradients of W_ih x + b_ih at all steps, one row for each step of each sequence, and da_hh
        those of W_hh h_prev + b_hh: the walk finds them, and the rest is one product over all steps for each weight.

        dL/dW_ih = da_ih^T x          dL/db_ih = sum of the rows of da_ih      dL/dx = da_ih W_ih
        dL/dW_hh = da_hh^T h_prev     dL/db_hh = sum of the rows of da_hh
        """
        data, width = tensors[0], self.width
        states = tensors[1 : -len(WEIGHTS) * self.directions]
        (steps,) = kept
        weight_ih, weight_hh, *_ = self.weights(tensors)
        d_out, *d_finals = [None if d is None else self.wide(d, d.dim() - 1) for d in cotangents]
        d_states = [s.new_empty(*s.shape[:-1], width) for s in states]
        da = data.new_empty(self.directions, self.rows, GRADIENTS[self.cell] * width)
        self.launch(
            KERNELS[self.cell].backward, W_hh=self.matrices(weight_hh, transposed=False), kept=steps, d_out=d_out,
            da=da, **dict(zip(("d_h_n", "d_c_n"), d_finals, strict=False)),
            **dict(zip(("d_h_0", "d_c_0"), d_states, strict=False)),
        )  # fmt: skip
        da, d_states, H = self.cut(da), [self.cut(d) for d in d_states], self.H
        x = data.reshape(self.rows, data.size(-1))
        da_ih = da[:, :, : self.gates * H]
        of_hh = [slice(2 * H), slice(3 * H, 4 * H)] if self.cell == "GRU" else [slice(None)]
        dx = None
        if needs[0]:
            dx = da_ih[0] @ weight_ih[0]
            for da_of_d, weight in zip(da_ih[1:], weight_ih[1:], strict=True):
                dx.addmm_(da_of_d, weight)
            dx = dx.view(data.shape)
        found = [dx, *(d if need else None for d, need in zip(d_states, needs[1:], strict=False))]
        for d in range(self.directions):
            needs_W_ih, needs_W_hh, needs_b_ih, needs_b_hh = needs[1 + len(states) + len(WEIGHTS) * d :][:4]
            h_prev = steps[d, :, 0, :H]
            found += [
                da_ih[d].t() @ x if needs_W_ih else None,
                _joined([da[d, :, gates].t() @ h_prev for gates in of_hh]) if needs_W_hh else None,
                da_ih[d].sum(0) if needs_b_ih else None,
                _joined([da[d, :, gates].sum(0) for gates in of_hh]) if needs_b_hh else None,
                None,  # there is no projection
            ]
        return found


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """One tensor after the other."""
    return tensors[0].contiguous() if len(tensors) == 1 else torch.cat(list(tensors))
