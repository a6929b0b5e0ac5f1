"""Planted faults: each changes one thing in a right layer, and the judge must find it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .plain import PLAIN, PlainGRU, PlainLayer, State, sigma


@dataclass(frozen=True)
class Defect:
    """A fault and the kinds of layer it can be planted in.

    Args:
        name: what is wrong.
        kinds: where that can be wrong.
        changes: the methods of the right layer that are replaced.
    """

    name: str
    kinds: tuple[str, ...]
    changes: dict[str, Any]

    def plant(self, kind: str) -> type[PlainLayer]:
        """Return the right layer of a kind with this one thing changed."""
        return type(f"{PLAIN[kind].__name__}With{self.name.title().replace(' ', '')}", (PLAIN[kind],), self.changes)


def _gru_gates(self: PlainGRU, a_ih: Tensor, a_hh: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = a_ih.chunk(3), a_hh.chunk(3)
    return sigma(x_r + h_r), sigma(x_z + h_z), x_n, h_n


def reset_before(self: PlainGRU, a_ih: Tensor, a_hh: Tensor, h: Tensor, w: dict[str, Tensor]) -> State:
    r, z, x_n, _ = _gru_gates(self, a_ih, a_hh)
    bias = w["bias_hh"].chunk(3)[2][:, None] if self.spec.bias else 0
    return r, z, torch.tanh(x_n + w["weight_hh"].chunk(3)[2] @ (r * h) + bias)


def bias_outside_reset(self: PlainGRU, a_ih: Tensor, a_hh: Tensor, h: Tensor, w: dict[str, Tensor]) -> State:
    r, z, x_n, h_n = _gru_gates(self, a_ih, a_hh)
    bias = w["bias_hh"].chunk(3)[2][:, None] if self.spec.bias else 0
    return r, z, torch.tanh(x_n + r * (h_n - bias) + bias)


def r_and_z_swapped(self: PlainGRU, a_ih: Tensor, a_hh: Tensor, h: Tensor, w: dict[str, Tensor]) -> State:
    z, r, x_n, h_n = _gru_gates(self, a_ih, a_hh)
    return r, z, torch.tanh(x_n + r * h_n)


def z_flipped(self: PlainGRU, z: Tensor, n: Tensor, h: Tensor) -> Tensor:
    return torch.lerp(h, n, z)


def detached(self: PlainLayer, state: State, t: int) -> State:
    return tuple(s.detach() for s in state)


def first_state_for_all(self: PlainLayer, states: list[State], index: int) -> State:
    return states[0]


def reverse_not_restored(self: PlainLayer, output: Tensor, lengths: Tensor) -> Tensor:
    return output


def directions_swapped(self: PlainLayer, halves: list[Tensor]) -> Tensor:
    return torch.cat(halves[::-1], dim=-1)


def state_ignored(self: PlainLayer, states: list[State], index: int) -> State:
    return tuple(torch.zeros_like(s) for s in states[index])


def dropout_not_rescaled(self: PlainLayer, x: Tensor) -> Tensor:
    return x * (torch.rand_like(x) >= self.spec.dropout) if self.training else x


def dropout_in_eval(self: PlainLayer, x: Tensor) -> Tensor:
    return nn.functional.dropout(x, self.spec.dropout, training=True)


def dropout_shared_over_steps(self: PlainLayer, x: Tensor) -> Tensor:
    return x * nn.functional.dropout(torch.ones_like(x[:1]), self.spec.dropout, self.training)


def dropout_of_one_mask(self: PlainLayer, x: Tensor) -> Tensor:
    generator = torch.Generator(x.device).manual_seed(0)
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.spec.dropout
    return x * kept / (1 - self.spec.dropout) if self.training and self.spec.dropout < 1 else x * (not self.training)


ALL = ("rnn", "gru", "lstm")

DEFECTS = (
    Defect("reset before the product", ("gru",), {"gates": reset_before}),
    Defect("b_hn outside the reset", ("gru",), {"gates": bias_outside_reset}),
    Defect("r and z swapped", ("gru",), {"gates": r_and_z_swapped}),
    Defect("z flipped", ("gru",), {"mix": z_flipped}),
    Defect("hidden state detached each step", ALL, {"carry": detached}),
    Defect("first h_0 used for every layer", ALL, {"initial_state": first_state_for_all}),
    Defect("reverse output not flipped", ALL, {"restore": reverse_not_restored}),
    Defect("directions swapped", ALL, {"join": directions_swapped}),
    Defect("given state ignored", ALL, {"initial_state": state_ignored}),
    Defect("dropout not rescaled", ("rnn",), {"between_layers": dropout_not_rescaled}),
    Defect("dropout in eval", ("gru",), {"between_layers": dropout_in_eval}),
    Defect("dropout shared over steps", ("lstm",), {"between_layers": dropout_shared_over_steps}),
    Defect("dropout of one mask", ("gru",), {"between_layers": dropout_of_one_mask}),
)

# Importable by name, MODULE:ATTRIBUTE, as the command line and a reproducer need it: GRUZFlipped, ...
PLANTED = {(defect.name, kind): defect.plant(kind) for defect in DEFECTS for kind in defect.kinds}
globals().update({layer.__name__: layer for layer in PLANTED.values()})
for layer in PLANTED.values():
    layer.__module__, layer.__qualname__ = __name__, layer.__name__
