"""Numbers in words, against examples and against their own inverse."""

import pytest

from rnn_parity.tasks.spelling import spell, value

EXAMPLES = {
    0: "zero",
    7: "seven",
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
}


@pytest.mark.parametrize(("number", "words"), EXAMPLES.items())
def test_examples(number: int, words: str) -> None:
    assert spell(number) == words
    assert value(words) == number


def test_every_name_is_another_and_leads_back() -> None:
    numbers = [*range(20_000), *range(20_000, 1_000_000, 997)]
    names = [spell(number) for number in numbers]
    assert len(set(names)) == len(numbers)
    assert [value(name) for name in names] == numbers


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_out_of_range(number: int) -> None:
    with pytest.raises(ValueError, match=f"expected a number from 0 to 999999, came {number}"):
        spell(number)


@pytest.mark.parametrize(
    "words",
    [
        "", " ", "six ", "hundred", "thousand", "one million", "fourty", "seven twenty", "twenty zero",
        "one hundred zero", "ten hundred", "hundred one", "one thousand two thousand", "five five", "Seven",
        "nine hundred hundred", "ninety  nine",
    ],
)  # fmt: skip
def test_no_number(words: str) -> None:
    with pytest.raises(ValueError, match=f"expected a number in words, came '{words}'"):
        value(words)
