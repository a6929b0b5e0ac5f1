"""From a template to a program of at most 25 lines."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .parts import Parts, variable, within

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_LINES = 25
WIDEST = 160  # where lines would else be too many, which takes nearly every option at once
COMPOUND = ("for ", "if ", "def ", "with ", "try:", "except ", "@")


def rendered(template: str, parts: Parts, **values: Any) -> str:
    """Return the program that a template makes of the parts `c` and of more values."""
    text = _environment().get_template(f"{template}.py.j2").render(c=parts, case=parts.case, **values)
    return fitted(text)


@cache
def _environment() -> Environment:
    import jinja2  # here, since most runs of the judge write no program

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=loader, **options)
    environment.globals |= {"within": within, "variable": variable, "infinity": float("inf")}
    environment.filters |= {"repr": repr, "variable": variable}
    return environment


def fitted(text: str) -> str:
    """Drop blank lines within functions, all of them where lines are too many, and then join short statements."""
    text = re.sub(r"\n\s*\n+(?= )", "\n", re.sub(r"\s*\n(\s*\n)+(?! )", "\n\n", text)).strip()
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        lines = [line for line in lines if line]
    while len(lines) > MOST_LINES:
        triples = zip(range(len(lines)), lines, lines[1:], [*lines[2:], ""], strict=False)
        fitting = [(at, both) for at, *three in triples if len(both := _joined(*three)) in range(1, WIDEST + 1)]
        if not fitting:
            break
        at, both = min(fitting, key=lambda pair: len(pair[1]))
        lines[at : at + 2] = [both]
    return "\n".join(lines)


def _joined(first: str, second: str, third: str) -> str:
    """Return two statements on one line, nothing where they do not go there: ahead of a third."""
    depths = [len(line) - len(line.lstrip()) for line in (first, second, third)]
    if second.lstrip().startswith(COMPOUND) or "#" in first + second:
        return ""
    if first.endswith(":"):
        return f"{first} {second.strip()}" if depths[2] <= depths[0] else ""
    return f"{first}; {second.strip()}" if depths[0] == depths[1] and not first.lstrip().startswith(COMPOUND) else ""
