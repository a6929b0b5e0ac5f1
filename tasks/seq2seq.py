"""Spell numbers in English letter by letter, or read them, with a recurrent encoder and decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from .cli import main
from .report import show_answers
from .task import Count, Data, LayerFactory, Positive, Run, hidden, whole
from .words import LIMIT, SIGNS, TENS, UNITS, Decoder, WordModel, WordTask, decode, encode, lengths, spell

SYMBOLS = SIGNS + "0123456789 " + "".join(sorted(set("".join([*UNITS, *TENS, "hundred", "thousand"]))))
SHOWN = 10
KEEP = 1.5
"""Where the gate that keeps the state starts: sigmoid(1.5) = 0.82 of it lasts a step, not a half."""


class TranslationModel(WordModel):
    """Recurrent encoder whose last state is all that the recurrent decoder knows of the source.

    Args:
        layer: builds both recurrent layers.
        context: "state": the encoder's last state is the decoder's first; "input": its h_n is part of the
            decoder's input at every step.
        letters: number of codes.
        embedding_size: features of an embedded letter.
        hidden_size: features of each recurrent layer.
        longest: the most letters the decoder writes.

    Source: https://arxiv.org/abs/1409.3215 (state), https://arxiv.org/abs/1406.1078 (input)
    """

    def __init__(
        self, layer: LayerFactory, context: str, letters: int, embedding_size: int, hidden_size: int, longest: int
    ) -> None:
        context_size = hidden_size if context == "input" else 0
        super().__init__(Decoder(layer, letters, embedding_size, hidden_size, context_size), longest)
        self.context = context
        self.embedding = nn.Embedding(letters, embedding_size)
        self.recurrent = layer(embedding_size, hidden_size, batch_first=True)
        for recurrent in (self.recurrent, self.decoder.recurrent):
            start_by_keeping(recurrent, hidden_size)

    def encode(self, inputs: Tensor) -> tuple[Any, ...]:
        """Return what the decoder is given of the sources (batch, seq_len), whose padding is never read."""
        packed = pack_padded_sequence(
            self.embedding(inputs), lengths(inputs).cpu(), batch_first=True, enforce_sorted=False
        )
        _, state = self.recurrent(packed)
        return (state,) if self.context == "state" else (None, hidden(state)[-1])


def start_by_keeping(recurrent: nn.Module, hidden_size: int) -> None:
    """Start the gate that keeps the state (a GRU's z, an LSTM's f) at a bias of `KEEP`.

    Both are the second of their layer's gates; the plain RNN has none. Where the last digit is named forty
    letters after it was read, nothing would remember it long enough to learn from it otherwise.

    Args:
        recurrent: the layer, its parameters named as in `torch.nn`.
        hidden_size: its features.

    Source: https://proceedings.mlr.press/v37/jozefowicz15.html
    """
    for name, parameter in recurrent.named_parameters():
        if name.startswith("bias_hh_l"):
            nn.init.constant_(parameter[hidden_size : 2 * hidden_size], KEEP)


@dataclass(frozen=True, kw_only=True)
class Seq2seq(WordTask):
    """A number in, its name out; or the other way round.

    Args:
        batch_size: numbers in one step.
        learning_rate: of Adam.
        embedding_size: features of an embedded letter.
        hidden_size: features of each recurrent layer.
        direction: "to-words" (407 to "four hundred seven") or "to-digits".
        context: how the decoder knows the source: "state", as its first state, or "input", at every step.
        layer: the class in `torch.nn` of encoder and decoder.
        numbers: how many there are, from 0 up; a fifth of them is held out.
    """

    name: ClassVar[str] = "seq2seq"
    epochs: ClassVar[int] = 12

    batch_size: Count = 64
    learning_rate: Positive = 0.005
    embedding_size: Count = 16
    hidden_size: Count = 128
    direction: Literal["to-words", "to-digits"] = "to-words"
    context: Literal["state", "input"] = "state"
    layer: Literal["GRU", "RNN", "LSTM"] = "GRU"
    numbers: Annotated[int, whole(100, LIMIT)] = 10_000

    @property
    def title(self) -> str:
        """What the models learn."""
        does = "spell numbers in English" if self.direction == "to-words" else "read numbers in English"
        return f"Two {self.layer}s {does}, letter by letter; held out: {self.numbers // 5:,} numbers"

    def load(self) -> Data:
        """Return the numbers as digits and as words, the same fifth held out every time."""
        order = torch.randperm(self.numbers, generator=torch.Generator().manual_seed(0))
        sides = [encode([write(n) for n in order.tolist()], SYMBOLS) for write in (str, spell)]
        source, target = sides if self.direction == "to-words" else reversed(sides)
        held_out = self.numbers // 5
        return Data(self.direction, source[held_out:], target[held_out:], source[:held_out], target[:held_out], SYMBOLS)

    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around two recurrent layers."""
        sizes = (self.embedding_size, self.hidden_size, data.train_target.shape[1])
        return TranslationModel(layer, self.context, len(data.symbols), *sizes)

    def note(self, model: nn.Module, data: Data) -> str:
        """Return the epoch's answer to the first number held out."""
        (source,) = decode(data.test_input[:1], data.symbols)
        return f"{source}: {self.words(model, data, 1)[0]}"

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return some numbers held out with the model's answers, and the right ones where those are wrong."""
        sources, targets = (decode(part[:SHOWN], data.symbols) for part in (data.test_input, data.test_target))
        answers = self.words(model, data, SHOWN)
        width = max(map(len, sources))
        return "\n".join(
            f"{source:>{width}}  {answer}" + (f"  (expected {target})" if answer != target else "")
            for source, answer, target in zip(sources, answers, targets, strict=True)
        )

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Write the models' answers beside numbers held out, those first that a model got wrong."""
        inputs, targets = (decode(part, data.symbols) for part in (data.test_input, data.test_target))
        show_answers(axes, inputs, [self.words(run.model, data) for run in runs], targets)


if __name__ == "__main__":
    main(Seq2seq)
