"""What an entry of the catalogue is: one thing changed in a right layer, and where that can be wrong."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from rnn_parity.bench.plain import PLAIN, PlainLayer
from rnn_parity.reference import LayerSpec

# The layers a fault is planted in: of each only the specs that `variant_of` calls so, the others stay right.
RNNS = ("rnn-tanh", "rnn-relu")
LSTMS = ("lstm", "lstm-proj")
GATED = ("gru", *LSTMS)
ALL = RNNS + GATED


def variant_of(spec: LayerSpec) -> str:
    if spec.kind == "rnn":
        return f"rnn-{spec.nonlinearity}"
    return "lstm-proj" if spec.proj_size else spec.kind


@dataclass(frozen=True)
class Defect:
    """A fault and the layers it is planted in.

    Args:
        name: what is wrong.
        report: where it was found, REPOSITORY#NUMBER, or "known-defects: " and its words there; "near " one that
            was much the same.
        variants: which of `ALL` can have it.
        changes: a function for each method of the right layer that is replaced; it is called with the layer, the
            right method, and what the method was called with.
    """

    name: str
    report: str
    variants: tuple[str, ...]
    changes: dict[str, Callable[..., Any]]

    def plant(self, variant: str) -> type[PlainLayer]:
        """Return the right layer with this one thing changed where the spec is of that variant."""
        right = PLAIN[variant.partition("-")[0]]
        methods = {name: _changed(getattr(right, name), change, variant) for name, change in self.changes.items()}
        words = re.findall(r"\w+", f"{variant} {self.name}")
        return type("".join(word[0].upper() + word[1:] for word in words), (right,), methods)


def defect(name: str, report: str, variants: tuple[str, ...], **changes: Callable[..., Any]) -> Defect:
    """Return an entry; see `Defect`."""
    return Defect(name, report, variants, changes)


def _changed(right: Callable[..., Any], change: Callable[..., Any], variant: str) -> Callable[..., Any]:
    def method(self: PlainLayer, *args: Any, **kwargs: Any) -> Any:
        own = partial(right, self)
        return change(self, own, *args, **kwargs) if variant_of(self.spec) == variant else own(*args, **kwargs)

    return method
