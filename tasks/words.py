"""Words as letters: numbers in English, a decoder that writes letter by letter, and the tasks that answer in words."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from .task import Data, LayerFactory, State, Task, hidden

PADDING, START, END = range(3)
SIGNS = "_<>"  # stand for them, in this order, in front of an alphabet's letters

# fmt: off
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
LIMIT = 1_000_000


def spell(number: int) -> str:
    """Return a number in words, as "four hundred seven" for 407.

    Args:
        number: from 0 to 999,999.

    Raises:
        ValueError: the number is out of range.
    """
    if not 0 <= number < LIMIT:
        raise ValueError(f"expected a number from 0 to {LIMIT - 1}, came {number}")
    if number < 20:
        return UNITS[number]
    if number < 100:
        return _join(TENS[number // 10], number % 10)
    name, size = ("hundred", 100) if number < 1000 else ("thousand", 1000)
    return _join(f"{spell(number // size)} {name}", number % size)


def _join(words: str, rest: int) -> str:
    return f"{words} {spell(rest)}" if rest else words


def encode(words: Sequence[str], symbols: str) -> Tensor:
    """Return the letters' codes (words, longest + 1), every word ended by END and padded behind it.

    Args:
        words: as strings.
        symbols: SIGNS and the letters that occur; a letter's code is its place.

    Raises:
        ValueError: a letter is not among the symbols.
    """
    rows = [torch.tensor([*map(symbols.index, word), END]) for word in words]
    return pad_sequence(rows, batch_first=True, padding_value=PADDING)


def decode(letters: Tensor, symbols: str) -> list[str]:
    """Return the words of letters (words, seq_len), each as far as its first END."""
    return ["".join(symbols[i] for i in row).partition(SIGNS[END])[0] for row in letters.tolist()]


def lengths(letters: Tensor) -> Tensor:
    """Return the number of letters before the padding (words,) of letters (words, seq_len)."""
    return (letters != PADDING).sum(1)


class Decoder(nn.Module):
    """Embedding of the last letter, recurrent layer and readout of the next letter.

    Args:
        layer: builds the recurrent layer.
        letters: number of codes.
        embedding_size: features of an embedded letter.
        hidden_size: features of the recurrent layer.
        context_size: features of a context given at every step, 0 for none.
    """

    def __init__(
        self, layer: LayerFactory, letters: int, embedding_size: int, hidden_size: int, context_size: int = 0
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, embedding_size)
        self.input_size = embedding_size + context_size
        self.recurrent = layer(self.input_size, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, letters)

    def forward(self, letters: Tensor, state: State | None, context: Tensor | None = None) -> tuple[Tensor, State]:
        """Read letters and foretell after each the next.

        Args:
            letters: (batch, seq_len).
            state: before the first letter; zeros by default.
            context: (batch, context_size), if the decoder takes one.

        Returns:
            The logits (batch, seq_len, letters), and the state after the last letter.
        """
        embedded = self.embedding(letters)
        if context is not None:
            at_every_step = context.unsqueeze(1).expand(-1, letters.shape[1], -1)
            embedded = torch.cat([embedded, at_every_step], dim=-1)
        output, state = self.recurrent(embedded, state)
        return self.readout(output), state

    def state_from(self, h_0: Tensor) -> State:
        """Return the state that begins with h_0 (1, batch, hidden_size), with zeros for c_0 where the layer has one."""
        with torch.no_grad():  # only the layer itself can say which kind it is
            _, state = self.recurrent(h_0.new_zeros(1, 1, self.input_size))
        return (h_0, torch.zeros_like(h_0)) if isinstance(state, tuple) else h_0

    def teach(self, words: Tensor, state: State | None, context: Tensor | None = None) -> Tensor:
        """Return the logits (batch, seq_len, letters) of words (batch, seq_len), all before each letter being right."""
        before = functional.pad(words[:, :-1], (1, 0), value=START)
        logits: Tensor
        logits, _ = self(before, state, context)
        return logits

    def write(self, longest: int, state: State | None, context: Tensor | None = None) -> Tensor:
        """Return words (batch, longest), each letter the likeliest after those written; behind END is PADDING."""
        known = context if state is None else hidden(state)
        assert known is not None  # without either the decoder would write the same word whatever it is asked
        letter = torch.full((known.shape[-2], 1), START, device=known.device)
        written: list[Tensor] = []
        ended = torch.zeros_like(letter, dtype=torch.bool)
        while len(written) < longest and not ended.all():
            logits, state = self(letter, state, context)
            letter = logits.argmax(-1).masked_fill(ended, PADDING)
            ended |= letter == END
            written.append(letter)
        return functional.pad(torch.cat(written, dim=1), (0, longest - len(written)), value=PADDING)


class WordModel(nn.Module, ABC):
    """An encoder of the input in front of a decoder that writes a word.

    Args:
        decoder: writes the words.
        longest: the most letters it writes, END among them.
    """

    def __init__(self, decoder: Decoder, longest: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.longest = longest

    @abstractmethod
    def encode(self, inputs: Tensor) -> tuple[Any, ...]:
        """Return the decoder's first state, and its context if it takes one."""

    def forward(self, inputs: Tensor, words: Tensor) -> Tensor:
        """Return the logits (batch, seq_len, letters) of the right words (batch, seq_len)."""
        return self.decoder.teach(words, *self.encode(inputs))

    def write(self, inputs: Tensor) -> Tensor:
        """Return the model's own words (batch, longest)."""
        return self.decoder.write(self.longest, *self.encode(inputs))


@dataclass(frozen=True, kw_only=True)
class WordTask(Task):
    """A task answered in words, right only if every letter is; its models are `WordModel`s."""

    metric: ClassVar[str] = "exact words"
    loss_name: ClassVar[str] = "cross-entropy (nats per word)"
    mean_of_examples: ClassVar[bool] = True

    def loss(self, model: nn.Module, data: Data, indices: Tensor) -> Tensor:
        """Return the mean over the batch's words of the sum over each one's letters."""
        words = data.train_target[indices]
        words = words[:, : int(lengths(words).max())]
        logits = model(data.train_input[indices], words)  # (batch, seq_len, letters)
        total = functional.cross_entropy(logits.flatten(0, 1), words.flatten(), ignore_index=PADDING, reduction="sum")
        return total / len(words)

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the words (examples, longest) that the model writes, letter by letter."""
        assert isinstance(model, WordModel)
        model.eval()
        return torch.cat([model.write(part) for part in torch.split(inputs, 1000)])

    def evaluate(self, model: nn.Module, data: Data) -> float:
        """Return the share of test examples with every letter right."""
        return (self.predict(model, data.test_input) == data.test_target).all(1).double().mean().item()

    def words(self, model: nn.Module, data: Data, count: int | None = None) -> list[str]:
        """Return what the model writes for the first test examples, for all by default."""
        return decode(self.predict(model, data.test_input[:count]), data.symbols)
