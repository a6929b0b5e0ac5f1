"""Numbers in English words, and back."""

# fmt: off
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
LIMIT = 1_000_000
VALUES = {word: value for value, word in enumerate(UNITS)} | {
    word: 10 * value for value, word in enumerate(TENS) if word
}


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


def value(words: str) -> int:
    """Return the number that `spell` gives these words.

    Args:
        words: separated by single spaces.

    Raises:
        ValueError: no number is spelled so.
    """
    thousands = rest = 0
    for word in words.split(" "):
        if word == "thousand":
            thousands, rest = rest, 0
        elif word == "hundred":
            rest *= 100
        else:
            rest += VALUES.get(word, LIMIT)
    number = 1000 * thousands + rest
    if number >= LIMIT or spell(number) != words:
        raise ValueError(f"expected a number in words, came {words!r}")
    return number
