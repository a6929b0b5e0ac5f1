"""Learn to spell like The Time Machine, one character after another, with a GRU, an RNN or an LSTM.

It follows "Recurrent Neural Networks from Scratch" of Dive into Deep Learning: the first 10,000 characters of
the text, in lower case and everything but letters made spaces; one-hot input, 256 hidden units, a linear
readout; minibatches of 32 windows of 35 characters; plain gradient descent, learning rate 1, gradients clipped
to norm 1. As there, the metric is the perplexity (exp of the mean cross-entropy) on the training text itself;
the closing lines add that on the 10,000 characters that follow, and how the model continues a prefix.
"""

import argparse
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional

from .command_line import main
from .state import State, detached
from .task import Data, LayerFactory, Run, Task, TaskError
from .text import SYMBOLS, decode, encode, letters, load_time_machine, load_zen, read_text

LOADERS: dict[str, Callable[[], str]] = {"time-machine": load_time_machine, "zen": load_zen}
CHARACTERS = 10_000  # to train on, and as many to hold out
LEAST = 400  # characters of a text: fewer hold no window, once a tenth is held out


class CharacterModel(nn.Module):
    """One-hot input, recurrent layer and readout of every step.

    Args:
        layer: builds the recurrent layer.
        hidden_size: features of the recurrent layer.
    """

    def __init__(self, layer: LayerFactory, hidden_size: int) -> None:
        super().__init__()
        self.recurrent = layer(len(SYMBOLS), hidden_size, batch_first=True)
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
        steps: characters of a window.
        layer: the class in `torch.nn` whose place an implementation takes: "GRU", "RNN" or "LSTM".
        sampling: "sequential", each minibatch goes on where the one before ended, and from the state that it
            ended in; or "random", windows in any order, each from state zero.
        data: "time-machine" or "zen".
        text: a file to train on in place of these.
        prefix: letters and spaces that the trained model continues.

    Source: https://d2l.ai/chapter_recurrent-neural-networks/rnn-scratch.html, and for the sampling
        https://d2l.ai/chapter_recurrent-neural-networks/language-model.html
    """

    name: ClassVar[str] = "charlm"
    metric: ClassVar[str] = "perplexity"
    epochs: ClassVar[int] = 500
    clip: ClassVar[float | None] = 1.0

    batch_size: int = 32
    learning_rate: float = 1.0
    hidden_size: int = 256
    steps: int = 35
    layer: str = "GRU"
    sampling: str = "sequential"
    data: str = "time-machine"
    text: str | None = None
    prefix: str = "time traveller"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add `--layer`, `--sampling`, `--data`, `--text` and `--prefix`."""
        add = parser.add_argument
        add("--layer", choices=["GRU", "RNN", "LSTM"], default=cls.layer, help="default %(default)s")
        help = "each window where the last ended, its state carried on, or in any order; default %(default)s"
        add("--sampling", choices=["sequential", "random"], default=cls.sampling, help=help)
        text = parser.add_mutually_exclusive_group()
        help = "text to learn: time-machine (fetched once), zen (comes with Python); default %(default)s"
        text.add_argument("--data", choices=list(LOADERS), default=cls.data, help=help)
        text.add_argument("--text", type=_file, metavar="FILE", help="text to learn: the letters a to z of a file")
        add("--prefix", type=_prefix, default=cls.prefix, metavar="TEXT", help="to continue; default %(default)s")

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
        """Return a new model around one recurrent layer."""
        return CharacterModel(layer, self.hidden_size)

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
        text = encode(self.prefix).to(data.train_input.device).unsqueeze(0)  # (1, seq_len)
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
        """Draw how the perplexity fell, over what each model writes."""
        super().illustrate(axes, runs, data)
        axes.set_yscale("log")
        written = (f"{run.implementation}: {self.continuation(run.model, data)}" for run in runs)
        axes.set_xlabel("\n".join(["epoch", *written]))


def _file(text: str) -> str:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"expected a file, came {text!r}")
    return text


def _prefix(text: str) -> str:
    if not re.search("[a-z]", prefix := letters(text)):
        raise argparse.ArgumentTypeError(f"expected at least one letter a to z, came {text!r}")
    return prefix


if __name__ == "__main__":
    main(Charlm)
