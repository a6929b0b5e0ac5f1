"""Numbers in English, words as letters, and the decoder that the tasks answering in words share."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from rnn_parity.tasks.task import State, detached, hidden
from rnn_parity.tasks.words import END, PADDING, SIGNS, START, Decoder, decode, encode, lengths, spell

SYMBOLS = SIGNS + "abc"
HIDDEN = 12


def test_words_come_back() -> None:
    words = ["abc", "", "a", "bb"]
    letters = encode(words, SYMBOLS)
    assert letters.tolist() == [
        [3, 4, 5, END],
        [END, PADDING, PADDING, PADDING],
        [3, END, PADDING, PADDING],
        [4, 4, END, PADDING],
    ]
    assert lengths(letters).tolist() == [4, 1, 2, 3]
    assert decode(letters, SYMBOLS) == words


def test_a_word_ends_at_its_first_end() -> None:
    assert decode(torch.tensor([[3, END, 4, END], [3, 4, 5, 3]]), SYMBOLS) == ["a", "abca"]


def test_an_unknown_letter_is_refused() -> None:
    with pytest.raises(ValueError, match="substring not found"):
        encode(["abcd"], SYMBOLS)


def new_decoder(kind: str, context_size: int = 0) -> Decoder:
    """Weights large enough for words that differ and end at different lengths."""
    torch.manual_seed(1)
    decoder = Decoder(getattr(nn, kind), len(SYMBOLS), 4, HIDDEN, context_size).double()
    for parameter in decoder.parameters():
        parameter.data *= 4
    return decoder


def state_of(decoder: Decoder, batch: int) -> State:
    return decoder.state_from(torch.randn(1, batch, HIDDEN, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("context_size", [0, 3])
@torch.no_grad()
def test_it_writes_what_teaching_finds_likeliest(kind: str, context_size: int) -> None:
    decoder = new_decoder(kind, context_size)
    state = state_of(decoder, 50)
    context = torch.randn(50, context_size, dtype=torch.float64) if context_size else None
    written = decoder.write(12, state, context)
    assert written.shape == (50, 12)
    assert len(lengths(written).unique()) > 1
    logits = decoder.teach(written, state, context)
    likeliest = logits.argmax(-1)
    before_end = (written == END).cumsum(1) - (written == END).long() == 0
    assert torch.equal(written[before_end], likeliest[before_end])
    assert (written[~before_end] == PADDING).all()


@torch.no_grad()
def test_teaching_shows_no_letter_before_its_turn() -> None:
    decoder = new_decoder("GRU")
    state = state_of(decoder, 1)
    words = torch.tensor([[3, 4, 5, END]])
    for step in range(4):
        changed = words.clone()
        changed[0, step] = START
        same = decoder.teach(words, state) == decoder.teach(changed, state)
        assert same[0, : step + 1].all()
        assert not same[0, step + 1 :].all(1).any()


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_a_state_begins_with_h_0_and_zeros(kind: str) -> None:
    decoder = new_decoder(kind)
    h_0 = torch.randn(1, 2, HIDDEN, dtype=torch.float64, requires_grad=True)
    state = decoder.state_from(h_0)
    parts: tuple[Tensor, ...] = state if isinstance(state, tuple) else (state,)  # type: ignore[assignment]
    assert len(parts) == {"GRU": 1, "LSTM": 2}[kind]
    assert parts[0] is h_0
    assert all(not part.any() for part in parts[1:])
    words = torch.tensor([[3, END], [4, 5]])
    expected, _ = decoder(torch.tensor([[START, 3], [START, 4]]), state)
    assert_close(decoder.teach(words, state), expected, rtol=0, atol=0)


@pytest.mark.parametrize("pair", [False, True], ids=["h", "h and c"])
def test_a_detached_state_keeps_its_values(pair: bool) -> None:
    h, c = torch.randn(2, 1, 2, 3, requires_grad=True).unbind()
    found = detached((h, c) if pair else h)
    assert isinstance(found, tuple) == pair
    assert torch.equal(hidden(found), h)
    for part, source in zip(found if isinstance(found, tuple) else (found,), (h, c), strict=False):
        assert torch.equal(part, source)
        assert not part.requires_grad


@pytest.mark.parametrize(
    ("number", "words"),
    {
        0: "zero",
        13: "thirteen",
        20: "twenty",
        44: "forty four",
        100: "one hundred",
        407: "four hundred seven",
        811: "eight hundred eleven",
        1000: "one thousand",
        9090: "nine thousand ninety",
        65_536: "sixty five thousand five hundred thirty six",
        100_001: "one hundred thousand one",
        999_999: "nine hundred ninety nine thousand nine hundred ninety nine",
    }.items(),
)
def test_numbers_in_words(number: int, words: str) -> None:
    assert spell(number) == words


def test_every_number_has_a_name_of_its_own() -> None:
    numbers = [*range(20_000), *range(20_000, 1_000_000, 997)]
    assert len({spell(number) for number in numbers}) == len(numbers)


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_a_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"expected a number from 0 to 999999, came {number}"):
        spell(number)
