"""What a recurrent layer is: its kind, sizes and options, exactly as `torch.nn` accepts them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

KINDS = ("rnn", "gru", "lstm")
GATES = {"rnn": 1, "gru": 3, "lstm": 4}  # gru: r, z, n; lstm: i, f, g, o, packed in that order

LETTERS = {"rnn": "h", "gru": "rzn", "lstm": "ifgo"}  # the names of these gates

# Where the field's layers differ from `torch.nn` by design, and in which kinds.
DIALECTS = {
    "one bias": KINDS,  # bias_ih + bias_hh is added to W_ih x_t: a GRU's reset gate acts on no bias
    "reset before": ("gru",),  # n = tanh(W_in x_t + b_in + W_hn (r * h_prev) + b_hn)
    "forget bias + 1": ("lstm",),  # f = sigmoid(... + 1)
}


@dataclass(frozen=True)
class LayerSpec:
    """Everything the constructor of `torch.nn.RNN`, `GRU` or `LSTM` is told.

    Args:
        kind: "rnn", "gru" or "lstm".
        input_size: features of one step of the input.
        hidden_size: features of the hidden state before a projection.
        num_layers: layers in the stack.
        nonlinearity: "tanh" or "relu"; only "rnn" may differ from "tanh".
        bias: whether there are bias_ih and bias_hh.
        batch_first: (batch, seq_len, feature) rather than (seq_len, batch, feature).
        dropout: probability in [0, 1], after every layer but the last.
        bidirectional: a second direction reads the sequence backwards.
        proj_size: features of the projected hidden state, 0 for none; only "lstm" has it.
        dialect: keys of `DIALECTS`: what differs from `torch.nn`, whose constructor is not told of it.

    Raises:
        ValueError: an option that `torch.nn` refuses for this kind.

    Source: https://docs.pytorch.org/docs/stable/nn.html#recurrent-layers
    """

    kind: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    nonlinearity: str = "tanh"
    bias: bool = True
    batch_first: bool = False
    dropout: float = 0.0
    bidirectional: bool = False
    proj_size: int = 0
    dialect: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(self.kind in KINDS, f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        for name in ("input_size", "hidden_size", "num_layers"):
            size = getattr(self, name)
            _require(isinstance(size, int) and size > 0, f"{name} must be a positive int, got {size!r}")
        allowed = ("tanh", "relu") if self.kind == "rnn" else ("tanh",)
        _require(
            self.nonlinearity in allowed,
            f"nonlinearity of {self.kind} must be one of {', '.join(allowed)}, got {self.nonlinearity!r}",
        )
        _require(0 <= self.dropout <= 1, f"dropout must be in [0, 1], got {self.dropout!r}")
        _require(self.proj_size == 0 or self.kind == "lstm", f"proj_size is for lstm, not for {self.kind}")
        _require(
            0 <= self.proj_size < self.hidden_size,
            f"proj_size must be in [0, hidden_size), got {self.proj_size!r} with hidden_size {self.hidden_size}",
        )
        require_dialect(self.kind, self.dialect)

    @property
    def num_directions(self) -> int:
        """2 where bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_size(self) -> int:
        """Features of h_t: proj_size where there is a projection, else hidden_size."""
        return self.proj_size or self.hidden_size

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every parameter, in the order `torch.nn` registers them."""
        rows = GATES[self.kind] * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.num_layers):
            features = self.input_size if layer == 0 else self.state_size * self.num_directions
            for suffix in self.suffixes(layer):
                shapes[f"weight_ih_{suffix}"] = (rows, features)
                shapes[f"weight_hh_{suffix}"] = (rows, self.state_size)
                if self.bias:
                    shapes[f"bias_ih_{suffix}"] = (rows,)
                    shapes[f"bias_hh_{suffix}"] = (rows,)
                if self.proj_size:
                    shapes[f"weight_hr_{suffix}"] = (self.proj_size, self.hidden_size)
        return shapes

    def suffixes(self, layer: int) -> list[str]:
        """Return the end of the parameter names of a layer, one per direction: l0, l0_reverse."""
        return [f"l{layer}", f"l{layer}_reverse"][: self.num_directions]

    def arguments(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments, without those that keep their default."""
        always = ("input_size", "hidden_size")
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in ("kind", "dialect")
            and (field.name in always or getattr(self, field.name) != field.default)
        }


def require_dialect(kind: str, dialect: Collection[str]) -> None:
    """Refuse what is no dialect of a kind.

    Raises:
        ValueError: it names those there are.
    """
    known = [name for name, kinds in DIALECTS.items() if kind in kinds]
    _require(set(dialect) <= set(known), f"dialect of {kind} must be among {', '.join(known)}, got {dialect!r}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
