"""Learn to spell like The Time Machine, one character after another, with a GRU, an RNN or an LSTM.

It follows "Recurrent Neural Networks from Scratch" of Dive into Deep Learning: the first 10,000 characters of
the text, in lower case and everything but letters made spaces; one-hot input, 256 hidden units, a linear
readout; minibatches of 32 windows of 35 characters; plain gradient descent, learning rate 1, gradients clipped
to norm 1. As there, the metric is the perplexity (exp of the mean cross-entropy) on the training text itself;
the closing lines add that on the 10,000 characters that follow, and how the model continues a prefix.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, ClassVar, Literal

import torch
from cyclopts import Group, Parameter
from cyclopts.validators import mutually_exclusive
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional

from .cli import main
from .data import SYMBOLS, decode, encode, letters, load_time_machine, load_zen, read_text
from .report import WRONG, colour
from .task import Count, Data, LayerFactory, Positive, Run, State, Task, TaskError, detached

LOADERS: dict[str, Callable[[], str]] = {"time-machine": load_time_machine, "zen": load_zen}
CHARACTERS = 10_000  # to train on, and as many to hold out
SHOWN = 400  # of a continuation in the picture
LINE = 76  # characters of its lines
LEAST = 400  # characters of a text: fewer hold no window, once a tenth is held out


SOURCE = Group("Text", validator=mutually_exclusive)


def _check_file(_: Any, text: str | None) -> None:
    if text is not None and not Path(text).is_file():
        raise ValueError(f"expected a file, came {text!r}")


def _check_prefix(_: Any, text: str) -> None:
    if not re.search("[a-z]", letters(text)):
        raise ValueError(f"expected at least one letter a to z, came {text!r}")


class CharacterModel(nn.Module):
    """One-hot input, recurrent layer and readout of every step.

    Args:
        layer: builds the recurrent layer.
        hidden_size: features of the recurrent layer.
        num_layers: layers on top of each other.
    """

    def __init__(self, layer: LayerFactory, hidden_size: int, num_layers: int) -> None:
        super().__init__()
        self.recurrent = layer(len(SYMBOLS), hidden_size, num_layers, batch_first=True)
        self.readout = nn.Linear(hidden_size, len(SYMBOLS))

    def forward(self, characters: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the logits (batch, seq_len, classes) of the characters (batch, seq_len), and the state."""
        one_hot = functional.one_hot(characters, len(SYMBOLS)).to(self.readout.weight.dtype)
        output, state = self.recurrent(one_hot, state)
        return self.readout(output), state


@dataclass(frozen=True, kw_only=True)
class Charlm(Task):
    """Characters in, the next character out.

    Args:
        batch_size: windows in one step.
        learning_rate: of gradient descent.
        hidden_size: features of the recurrent layer.
        num_layers: layers on top of each other.
        steps: characters of a window.
        layer: the class in `torch.nn` whose place an implementation takes: "GRU", "RNN" or "LSTM".
        sampling: "sequential", each minibatch goes on where the one before ended, and from the state that it
            ended in; or "random", windows in any order, each from state zero.
        data: "time-machine" (fetched once) or "zen" (comes with Python).
        text: a file to train on in place of these, its letters a to z.
        prefix: what the trained model continues.

    Source: https://d2l.ai/chapter_recurrent-neural-networks/rnn-scratch.html, and for the sampling
        https://d2l.ai/chapter_recurrent-neural-networks/language-model.html
    """

    name: ClassVar[str] = "charlm"
    metric: ClassVar[str] = "perplexity"
    epochs: ClassVar[int] = 500
    clip: ClassVar[float] = 1.0

    batch_size: Count = 32
    learning_rate: Positive = 1.0
    hidden_size: Count = 256
    num_layers: Count = 1
    steps: Count = 35
    layer: Literal["GRU", "RNN", "LSTM"] = "GRU"
    sampling: Literal["sequential", "random"] = "sequential"
    data: Annotated[Literal["time-machine", "zen"], Parameter(group=SOURCE)] = "time-machine"
    text: Annotated[str | None, Parameter(group=SOURCE, validator=_check_file)] = None
    prefix: Annotated[str, Parameter(validator=_check_prefix)] = "time traveller"

    @property
    def title(self) -> str:
        """What the models learn."""
        return f"A {self.layer} learns to spell like a text, by heart if it is seen often enough"

    def load(self) -> Data:
        """Return each character's class, and the next one's: the first 10,000 to train, as many held out.

        Of a text too short for that, a tenth is held out.

        Raises:
            TaskError: the text cannot be had, is damaged, or has too few letters.
        """
        name, text = (self.text, read_text(self.text)) if self.text else (self.data, LOADERS[self.data]())
        if len(text) < LEAST:
            raise TaskError(f"expected a text of at least {LEAST} letters and spaces, came {name} with {len(text)}")
        end = min(CHARACTERS, len(text) * 9 // 10)
        train, test = encode(text[:end]), encode(text[end : end + CHARACTERS])
        return Data(name, train[:-1], train[1:], test[:-1], test[1:], SYMBOLS)

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around one stack of recurrent layers."""
        return CharacterModel(layer, self.hidden_size, self.num_layers)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return plain gradient descent."""
        return torch.optim.SGD(model.parameters(), lr=self.learning_rate)

    def batches(self, data: Data, generator: torch.Generator) -> Sequence[Tensor]:
        """Return one epoch's minibatches, each the places (batch,) where its windows start.

        The first window starts at a random one of the first `steps` characters, so that windows differ from
        epoch to epoch. What does not fill the last minibatch is left out.
        """
        offset = int(torch.randint(self.steps, (), generator=generator))
        batches = self._windows(len(data.train_input), offset)
        if self.sampling == "random":
            windows = torch.cat(batches)
            order = torch.randperm(len(windows), generator=generator)
            batches = [part for part in torch.split(windows[order], len(batches[0])) if len(part) == len(batches[0])]
        return [batch.to(data.train_input.device) for batch in batches]

    def _windows(self, characters: int, offset: int = 0) -> list[Tensor]:
        """Return where windows start: each row (of `batch_size`) of a minibatch goes on in the next one's."""
        rows = min(self.batch_size, (characters - offset) // self.steps)
        length = (characters - offset) // rows
        first = offset + length * torch.arange(rows)
        return [first + self.steps * k for k in range(length // self.steps)]

    def losses(self, model: nn.Module, data: Data, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield each minibatch's mean cross-entropy, the state carried on where the sampling is sequential."""
        yield from self._cross_entropies(model, data.train_input, data.train_target, batches)

    def _cross_entropies(
        self, model: nn.Module, characters: Tensor, target: Tensor, batches: Iterable[Tensor]
    ) -> Iterator[Tensor]:
        state = None
        for starts in batches:
            window = starts.unsqueeze(1) + torch.arange(self.steps, device=starts.device)  # (batch, steps)
            logits, state = model(characters[window], state)
            yield functional.cross_entropy(logits.flatten(0, 1), target[window].flatten())
            state = detached(state) if self.sampling == "sequential" else None

    def evaluate(self, model: nn.Module, data: Data) -> float:
        """Return the perplexity on the training text, its windows sampled in the way they are in training."""
        return self.perplexity(model, data.train_input, data.train_target)

    @torch.no_grad()
    def perplexity(self, model: nn.Module, characters: Tensor, target: Tensor) -> float:
        """Return the perplexity on the characters (count,), of which the last that fill no window are left out."""
        model.eval()
        batches = [starts.to(characters.device) for starts in self._windows(len(characters))]
        mean = torch.stack(list(self._cross_entropies(model, characters, target, batches))).double().mean()
        return math.exp(mean.item())

    @torch.no_grad()
    def continuation(self, model: nn.Module, data: Data, count: int = 50) -> str:
        """Return the prefix and the characters that follow, each the likeliest after all before it."""
        model.eval()
        text = encode(letters(self.prefix)).to(data.train_input.device).unsqueeze(0)  # (1, seq_len)
        logits, state = model(text)
        for _ in range(count):
            text = torch.cat([text, logits[:, -1:].argmax(-1)], dim=1)
            logits, state = model(text[:, -1:], state)
        return decode(text[0])

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return the perplexity on the text that was held out, and how the prefix goes on."""
        held_out = self.perplexity(model, data.test_input, data.test_target)
        return f"perplexity on the text held out {held_out:.4f}\n{self.continuation(model, data)}"

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Write how each model continues the prefix, the words in red that the training text does not hold."""
        known = set(decode(data.train_input).split())
        lines = 2 + SHOWN // LINE
        for place, run in enumerate(runs):
            held_out = self.perplexity(run.model, data.test_input, data.test_target)
            head = f"{run.implementation}: perplexity {run.metrics[-1]:.2f} on its text, {held_out:.2f} on what follows"
            axes.text(0, lines * place, head, color=colour(place), weight="bold", va="top", fontsize=9)
            for row, line in enumerate(wrap(self.continuation(run.model, data, SHOWN), LINE)):
                for word in re.finditer(r"\S+", line):
                    ink = "black" if word[0] in known else WRONG
                    place_of = (word.start() / LINE, lines * place + row + 1.4)
                    axes.text(*place_of, word[0], color=ink, family="monospace", fontsize=8.5, va="baseline")
        axes.set(xlim=(-0.01, 1), ylim=(lines * len(runs), -0.5), xticks=[], yticks=[])
        axes.set_xlabel(f'how "{self.prefix}" goes on; red: a word that the training text does not hold')


if __name__ == "__main__":
    main(Charlm)
