"""Learn the four shapes of sequence tasks, N to 1, 1 to N, N to N and N to M, each on an exact small example.

`--shape` says which; the input is a sequence of digits, and every answer is right or wrong:

n-to-1       the largest of five digits: read at the last step
1-to-n-first count up from a digit: it comes in at the first step, the others have a blank input
1-to-n-every the multiples of a digit, modulo 10: it comes in at every step
n-to-n       the parity of all bits so far: read at every step
n-to-m       the last four of ten bits, backwards: a decoder goes on from the state that an encoder ends with
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from .cli import main
from .report import show_answers
from .task import Count, Data, LayerFactory, Positive, Run, Task

MOST = 2000  # examples
HELD_OUT = 5  # one in so many
COPIES = 20  # of each input in an epoch, where there are too few to hold any out
EXAMPLES = 3  # printed


class NToOne(nn.Module):
    """Embedding, recurrent layer and readout of the last step; the other shapes differ in `forward` only.

    Args:
        layer: builds the recurrent layer.
        symbols: how many there are, in the input and in the answer.
        steps: of the answer.
        hidden_size: features of an embedded symbol and of the recurrent layer.
    """

    def __init__(self, layer: LayerFactory, symbols: int, steps: int, hidden_size: int) -> None:
        super().__init__()
        self.steps = steps
        self.embedding = nn.Embedding(symbols, hidden_size)
        self.recurrent = layer(hidden_size, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, symbols)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits (batch, steps, classes) for symbols (batch, seq_len)."""
        output, _ = self.recurrent(self.embedding(symbols))
        logits: Tensor = self.readout(output[:, -1:])  # (batch, 1, classes)
        return logits


class OneToNFirst(NToOne):
    """The symbol at the first step, a blank at every other."""

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits (batch, steps, classes) for symbols (batch, 1)."""
        first = self.embedding(symbols)  # (batch, 1, hidden)
        blanks = first.new_zeros(len(first), self.steps - 1, first.shape[-1])
        output, _ = self.recurrent(torch.cat([first, blanks], dim=1))
        logits: Tensor = self.readout(output)
        return logits


class OneToNEvery(NToOne):
    """The symbol at every step."""

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits (batch, steps, classes) for symbols (batch, 1)."""
        output, _ = self.recurrent(self.embedding(symbols).expand(-1, self.steps, -1))
        logits: Tensor = self.readout(output)
        return logits


class NToN(NToOne):
    """An answer at every step."""

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits (batch, seq_len, classes) for symbols (batch, seq_len)."""
        output, _ = self.recurrent(self.embedding(symbols))
        logits: Tensor = self.readout(output)
        return logits


class NToM(NToOne):
    """An encoder that reads, and a decoder that answers from the encoder's last state on, its inputs blank."""

    def __init__(self, layer: LayerFactory, symbols: int, steps: int, hidden_size: int) -> None:
        super().__init__(layer, symbols, steps, hidden_size)
        self.decoder = layer(hidden_size, hidden_size, batch_first=True)

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits (batch, steps, classes) for symbols (batch, seq_len)."""
        embedded = self.embedding(symbols)  # (batch, seq_len, hidden)
        _, state = self.recurrent(embedded)
        output, _ = self.decoder(embedded.new_zeros(len(embedded), self.steps, embedded.shape[-1]), state)
        logits: Tensor = self.readout(output)
        return logits


class Shape(NamedTuple):
    """One shape of sequence task, and what it is tried on.

    Args:
        model: takes the symbols to the answer's logits.
        symbols: what the classes stand for.
        length: of the input.
        answer: takes all inputs, (examples, length), to their answers, (examples, steps).
        epochs: after which all answers are right.
        gives: what the answer is, in words.
    """

    model: type[NToOne]
    symbols: str
    length: int
    answer: Callable[[Tensor], Tensor]
    epochs: int
    gives: str


DIGITS = "0123456789"
SHAPES = {
    "n-to-1": Shape(NToOne, DIGITS, 5, lambda digits: digits.amax(1, keepdim=True), 10, "the largest of five digits"),
    "1-to-n-first": Shape(
        OneToNFirst, DIGITS, 1, lambda digit: (digit + torch.arange(8)) % 10, 20, "the digits that follow one"
    ),
    "1-to-n-every": Shape(
        OneToNEvery, DIGITS, 1, lambda digit: digit * torch.arange(1, 9) % 10, 20, "the multiples of a digit, modulo 10"
    ),
    "n-to-n": Shape(
        NToN, "01", 10, lambda bits: bits.cumsum(1) % 2, 6, "the parity of all bits so far, at each of ten"
    ),
    "n-to-m": Shape(NToM, "01", 10, lambda bits: bits[:, -4:].flip(1), 8, "the last four of ten bits, backwards"),
}


@dataclass(frozen=True, kw_only=True)
class ManyToMany(Task):
    """Symbols in, symbols out, as many as the shape says.

    Args:
        batch_size: sequences in one step.
        learning_rate: of Adam.
        hidden_size: features of an embedded symbol and of the recurrent layer.
        shape: how many symbols come in and go out.
    """

    name: ClassVar[str] = "manytomany"
    layer: ClassVar[str] = "GRU"
    mean_of_examples: ClassVar[bool] = True

    batch_size: Count = 20
    learning_rate: Positive = 0.005
    hidden_size: Count = 64
    shape: Literal["n-to-1", "1-to-n-first", "1-to-n-every", "n-to-n", "n-to-m"] = "n-to-m"

    @property
    def epochs(self) -> int:
        """How often the training sequences are seen where nobody says."""
        return SHAPES[self.shape].epochs

    @property
    def title(self) -> str:
        """What the models learn."""
        return f"{self.shape}: a GRU gives {SHAPES[self.shape].gives}"

    def load(self) -> Data:
        """Return inputs (examples, length) and their answers (examples, steps), one in five held out.

        Of 1 to N there are ten inputs and no more: none is held out, and an epoch sees each twenty times.
        """
        shape = SHAPES[self.shape]
        inputs = torch.cartesian_prod(*[torch.arange(len(shape.symbols))] * shape.length).reshape(-1, shape.length)
        if shape.length == 1:
            train, test = inputs.repeat(COPIES, 1), inputs
        else:
            drawn = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:MOST]]
            test, train = drawn.tensor_split([len(drawn) // HELD_OUT])
        return Data(self.shape, train, shape.answer(train), test, shape.answer(test), shape.symbols)

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model of the shape."""
        steps = data.train_target.shape[1]
        return SHAPES[self.shape].model(layer, len(data.symbols), steps, self.hidden_size)

    def answers(self, model: nn.Module, data: Data, count: int | None = None) -> tuple[list[str], list[str], list[str]]:
        """Return the first test inputs, the model's answers and the right ones; all of them by default."""
        inputs = data.test_input[:count]
        parts = (inputs, self.predict(model, inputs), data.test_target[:count])
        first, second, third = ([" ".join(data.symbols[i] for i in row) for row in part.tolist()] for part in parts)
        return first, second, third

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return the answers to the first test inputs."""
        return "\n".join(
            f"{given} -> {answer}" + ("" if answer == truth else f", but {truth} is right")
            for given, answer, truth in zip(*self.answers(model, data, EXAMPLES), strict=True)
        )

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Write the models' answers beside test inputs, those first that a model got wrong."""
        (inputs, *_, right), answers = self.answers(runs[0].model, data), [self.answers(r.model, data)[1] for r in runs]
        show_answers(axes, inputs, answers, right)


if __name__ == "__main__":
    main(ManyToMany)
