"""A right layer in another style than `manual/`, with a method for each thing that a defect changes.

Padded throughout, features first inside a step, sigma through tanh, h_t by interpolation, one product for all gates:
right, but in another order of operations than `torch.nn`.
"""

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from rnn_parity.reference import LayerSpec

State = tuple[Tensor, ...]  # (h,) or (h, c)


class PlainLayer(nn.Module):
    """What torch.nn.RNN, GRU or LSTM computes; `kind` says which."""

    kind = "rnn"
    positional = ("input_size", "hidden_size", "num_layers")

    def __init__(self, *sizes: int, device: Any = None, dtype: Any = None, **options: Any) -> None:
        super().__init__()
        options |= dict(zip(self.positional, sizes, strict=False))
        self.spec = LayerSpec(self.kind, **options)
        for name, shape in self.spec.parameter_shapes().items():
            parameter = torch.empty(shape, device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(nn.init.uniform_(parameter, -0.1, 0.1)))

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        x, lengths = self.unpack(input)
        states = self.initial_states(x, hx)
        last = []
        for layer in range(self.spec.num_layers):
            if layer > 0:
                x = self.between_layers(x)
            halves = []
            for direction, suffix in enumerate(self.spec.suffixes(layer)):
                index = layer * self.spec.num_directions + direction
                state = self.initial_state(states, index)
                half, state = self.read(x, state, suffix, lengths, backwards=direction == 1)
                halves.append(half)
                last.append(state)
            x = self.join(halves)
        return self.pack(x, input, lengths), self.last_states(last, input)

    # what a defect changes, beside `forward` itself and what the subclasses add

    def weights(self, suffix: str) -> dict[str, Tensor]:
        """The parameters of one layer and direction, without its suffix."""
        own = [name for name in self.spec.parameter_shapes() if name.endswith(f"_{suffix}")]
        return {name.removesuffix(f"_{suffix}"): getattr(self, name) for name in own}

    def biased(self, a: Tensor, w: dict[str, Tensor], *names: str) -> Tensor:
        """Add biases to every column of (rows, batch)."""
        # Added up first: views of one gradient would be accumulated into the same memory.
        return a + reduce(torch.add, [w[name] for name in names])[:, None] if self.spec.bias else a

    def sigma(self, a: Tensor) -> Tensor:
        return 0.5 * torch.tanh(0.5 * a) + 0.5

    def activation(self, a: Tensor) -> Tensor:
        return torch.tanh(a)

    def step(self, x: Tensor, state: State, w: dict[str, Tensor]) -> State:
        """One step: x (features, batch), h and c (hidden, batch)."""
        raise NotImplementedError

    def initial_state(self, states: list[State], index: int) -> State:
        return states[index]

    def carry(self, state: State, t: int) -> State:
        """What the next step gets of this one's state."""
        return state

    def between_layers(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.spec.dropout, self.training)

    def join(self, halves: list[Tensor]) -> Tensor:
        return torch.cat(halves, dim=-1)

    def reorder(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Reverse each sequence of (seq_len, batch, features) within its length."""
        t = torch.arange(len(x), device=x.device)[:, None]
        order = torch.where(t < lengths, lengths - 1 - t, t)
        return x.gather(0, order[..., None].expand_as(x))

    def restore(self, output: Tensor, lengths: Tensor) -> Tensor:
        """Put the backward direction's output into the order of time."""
        return self.reorder(output, lengths)

    # how it is run

    def read(self, x: Tensor, state: State, suffix: str, lengths: Tensor, backwards: bool) -> tuple[Tensor, State]:
        w, outputs = self.weights(suffix), []
        for t, x_t in enumerate(self.reorder(x, lengths) if backwards else x):
            new = self.step(x_t.T, self.carry(state, t), w)
            running = t < lengths
            state = tuple(torch.where(running, a, b) for a, b in zip(new, state, strict=True))
            outputs.append(torch.where(running, new[0], 0).T)
        output = torch.stack(outputs)
        return self.restore(output, lengths) if backwards else output, state

    def product(self, x: Tensor, h: Tensor, w: dict[str, Tensor]) -> Tensor:
        """All gates in one product over [x, h]."""
        gates = torch.cat([w["weight_ih"], w["weight_hh"]], dim=1) @ torch.cat([x, h])
        return self.biased(gates, w, "bias_ih", "bias_hh")

    def unpack(self, input: Any) -> tuple[Tensor, Tensor]:
        if isinstance(input, PackedSequence):
            x, lengths = pad_packed_sequence(input)
            return x, lengths.to(x.device)
        x = input if input.dim() == 3 else input.unsqueeze(self.batch_axis)
        x = x.movedim(self.batch_axis, 1)
        return x, torch.full((x.shape[1],), len(x), device=x.device)

    @property
    def batch_axis(self) -> int:
        return 0 if self.spec.batch_first else 1

    def initial_states(self, x: Tensor, hx: Any) -> list[State]:
        rows = self.spec.num_layers * self.spec.num_directions
        sizes = (self.spec.state_size, self.spec.hidden_size)[: 2 if self.kind == "lstm" else 1]
        if hx is None:
            given: tuple[Tensor, ...] = tuple(x.new_zeros(rows, x.shape[1], size) for size in sizes)
        else:
            given = hx if isinstance(hx, tuple) else (hx,)
        given = tuple(s if s.dim() == 3 else s.unsqueeze(1) for s in given)
        return [tuple(s[row].T for s in given) for row in range(rows)]

    def last_states(self, last: list[State], input: Any) -> Any:
        stacked = tuple(torch.stack([state[k].T for state in last]) for k in range(len(last[0])))
        if not isinstance(input, PackedSequence) and input.dim() == 2:
            stacked = tuple(s.squeeze(1) for s in stacked)
        return stacked if self.kind == "lstm" else stacked[0]

    def pack(self, x: Tensor, input: Any, lengths: Tensor) -> Any:
        if isinstance(input, PackedSequence):
            order = input.sorted_indices if input.sorted_indices is not None else torch.arange(x.shape[1])
            data = pack_padded_sequence(x[:, order], lengths[order].cpu()).data
            return PackedSequence(data, input.batch_sizes, input.sorted_indices, input.unsorted_indices)
        x = x.movedim(1, self.batch_axis)
        return x if input.dim() == 3 else x.squeeze(self.batch_axis)


class PlainRNN(PlainLayer):
    def step(self, x: Tensor, state: State, w: dict[str, Tensor]) -> State:
        return (self.activation(self.product(x, state[0], w)),)

    def activation(self, a: Tensor) -> Tensor:
        return torch.tanh(a) if self.spec.nonlinearity == "tanh" else a.clamp(min=0)


class PlainGRU(PlainLayer):
    kind = "gru"

    def step(self, x: Tensor, state: State, w: dict[str, Tensor]) -> State:
        (h,) = state
        a_ih, a_hh = self.biased(w["weight_ih"] @ x, w, "bias_ih"), self.biased(w["weight_hh"] @ h, w, "bias_hh")
        _, z, n = self.gates(a_ih, a_hh, h, w)
        return (self.mix(z, n, h),)

    def gates(self, a_ih: Tensor, a_hh: Tensor, h: Tensor, w: dict[str, Tensor]) -> State:
        (x_r, x_z, x_n), (h_r, h_z, h_n) = a_ih.chunk(3), a_hh.chunk(3)
        r, z = self.sigma(x_r + h_r), self.sigma(x_z + h_z)
        return r, z, self.activation(torch.addcmul(x_n, r, h_n))

    def mix(self, z: Tensor, n: Tensor, h: Tensor) -> Tensor:
        return torch.lerp(n, h, z)


class PlainLSTM(PlainLayer):
    kind = "lstm"

    def step(self, x: Tensor, state: State, w: dict[str, Tensor]) -> State:
        h, c = state
        i, f, g, o = self.gates(self.product(x, h, w))
        c = self.cell(i, f, g, c)
        h = self.hidden(o, c)
        return (w["weight_hr"] @ h if self.spec.proj_size else h, c)

    def gates(self, a: Tensor) -> State:
        i, f, g, o = a.chunk(4)
        return self.sigma(i), self.sigma(f), self.activation(g), self.sigma(o)

    def cell(self, i: Tensor, f: Tensor, g: Tensor, c: Tensor) -> Tensor:
        return torch.addcmul(f * c, i, g)

    def hidden(self, o: Tensor, c: Tensor) -> Tensor:
        return o * self.activation(c)


PLAIN: dict[str, type[PlainLayer]] = {"rnn": PlainRNN, "gru": PlainGRU, "lstm": PlainLSTM}
