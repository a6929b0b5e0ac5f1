"""Teach an RNN to answer "hello" with "ohlol", letter by letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from cyclopts import Parameter
from matplotlib.axes import Axes
from torch import Tensor, nn

from .cli import main
from .report import WRONG, colour
from .task import Count, Data, LayerFactory, Positive, Run, Task

LETTERS = "ehilo"  # i is in neither word: the model has to learn not to guess it
INPUT, TARGET = "hello", "ohlol"


class LetterModel(nn.Module):
    """Embedding, recurrent layer and readout of every step.

    Args:
        layer: builds the recurrent layer.
        embedding_size: features of an embedded letter.
        hidden_size: features of the recurrent layer.
    """

    def __init__(self, layer: LayerFactory, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), embedding_size)
        self.recurrent = layer(embedding_size, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, len(LETTERS))

    def forward(self, letters: Tensor) -> Tensor:
        """Return the logits (batch, seq_len, classes) of the letters (batch, seq_len)."""
        output, _ = self.recurrent(self.embedding(letters))
        logits: Tensor = self.readout(output)
        return logits


@dataclass(frozen=True, kw_only=True)
class Hello(Task):
    """One word in, one word out.

    Args:
        learning_rate: of Adam.
        embedding_size: features of an embedded letter.
        hidden_size: features of the recurrent layer.
    """

    name: ClassVar[str] = "hello"
    layer: ClassVar[str] = "RNN"
    epochs: ClassVar[int] = 15
    title: ClassVar[str] = f'An RNN answers "{INPUT}" with "{TARGET}", letter by letter'

    batch_size: Annotated[int, Parameter(parse=False)] = 1  # there is one example
    learning_rate: Positive = 0.1
    embedding_size: Count = 10
    hidden_size: Count = 8

    def load(self) -> Data:
        """Return the one example, for training and test alike."""
        example, target = (torch.tensor([[LETTERS.index(c) for c in word]]) for word in (INPUT, TARGET))
        return Data("hello", example, target, example, target)

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around one recurrent layer."""
        return LetterModel(layer, self.embedding_size, self.hidden_size)

    def guess(self, model: nn.Module, data: Data) -> str:
        """Return the word the model answers with."""
        return "".join(LETTERS[i] for i in self.predict(model, data.test_input)[0])

    def note(self, model: nn.Module, data: Data) -> str:
        """Return the epoch's guess."""
        return f"guess {self.guess(model, data)}"

    @torch.no_grad()
    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Draw how likely each model holds each letter of the answer at its step, under the letter it answers."""
        width = 0.8 / len(runs)
        for place, run in enumerate(runs):
            probability = run.model(data.test_input)[0].softmax(-1)  # (seq_len, classes)
            of_target = probability.gather(-1, data.test_target[0].unsqueeze(-1)).squeeze(-1).tolist()
            steps = [k + (place - (len(runs) - 1) / 2) * width for k in range(len(TARGET))]
            axes.bar(steps, of_target, width, color=colour(place), label=run.implementation)
            for step, height, guess, due in zip(steps, of_target, self.guess(run.model, data), TARGET, strict=True):
                axes.text(step, height + 0.01, guess, color="black" if guess == due else WRONG, ha="center")
        axes.set_xticks(range(len(TARGET)), [f"{read} to {due}" for read, due in zip(INPUT, TARGET, strict=True)])
        axes.set(xlabel="letter read, and the one due", ylabel="probability of the one due", ylim=(0, 1.2))
        axes.legend(title="the letter answered, on the bar of", ncols=len(runs), loc="upper center")


if __name__ == "__main__":
    main(Hello)
