"""What no right layer does, whatever its numbers: each kind with what was seen, said in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class Misbehaviour(Exception):
    """A layer did something no right layer does. Its text says what was expected and what came."""


@dataclass(eq=False)
class Raised(Misbehaviour):
    """A part of the layer raised an exception: its class and its text, in one line."""

    stage: str
    exception: str
    text: str

    def __str__(self) -> str:
        return f"{self.stage} raised {self.exception}: {self.text}"


@dataclass(eq=False)
class Ended(Misbehaviour):
    """The layer's process ended, or had to be ended, or lost its device: "ended its process with exit status 3"."""

    stage: str
    how: str

    def __str__(self) -> str:
        return f"{self.stage} {self.how}"


@dataclass(eq=False)
class OfAdapter(Raised):
    """The adapter before the layer raised: nothing is said of the layer."""

    def __str__(self) -> str:
        return f"the adapter, in {self.stage}, raised {self.exception}: {self.text}"


@dataclass(eq=False)
class WrongReturn(Misbehaviour):
    """The call returned something of another form."""

    form: str
    came: str

    def __str__(self) -> str:
        return f"expected {self.form}, got {self.came}"


@dataclass(eq=False)
class WrongType(Misbehaviour):
    """A result is no Tensor, or no PackedSequence."""

    name: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"expected {self.name} to be a {self.expected}, got {self.came}"


@dataclass(eq=False)
class WrongGradientType(Misbehaviour):
    """An adapter gave something else than a tensor as the gradient of a parameter."""

    name: str
    came: str

    def __str__(self) -> str:
        return f"expected the gradient of {self.name} to be a Tensor, got {self.came}"


@dataclass(eq=False)
class WrongPlace(Misbehaviour):
    """A result has another shape, dtype or device; each is (shape, dtype, device)."""

    name: str
    expected: tuple[Any, ...]
    came: tuple[Any, ...]

    def __str__(self) -> str:
        return f"expected {self.name} of shape, dtype and device {self.expected}, got {self.came}"


@dataclass(eq=False)
class WrongField(Misbehaviour):
    """A field of a packed output is not that of the packed input."""

    field: str
    expected: list[int]
    came: list[int]

    def __str__(self) -> str:
        return f"expected output.{self.field} to be the input's {self.expected}, got {self.came}"


@dataclass(eq=False)
class OtherParameters(Misbehaviour):
    """The layer has other parameters after the call than before."""

    before: Sequence[str]
    after: Sequence[str]

    def __str__(self) -> str:
        return f"expected parameters {', '.join(self.before)}, found {', '.join(self.after)} after the call"


@dataclass(eq=False)
class Reformed(Misbehaviour):
    """An argument or a parameter has another shape, stride, dtype or requires_grad after the call."""

    what: str  # "argument" or "parameter"
    name: str
    before: list[Any]
    after: list[Any]

    def __str__(self) -> str:
        fields = "shape, stride, dtype, requires_grad"
        return f"{self.what} {self.name} changed from {self.before} to {self.after}: {fields}"


@dataclass(eq=False)
class ChangedInPlace(Misbehaviour):
    """An argument or a parameter has other values after the call."""

    what: str  # "argument" or "parameter"
    name: str

    def __str__(self) -> str:
        return f"{self.what} {self.name} was changed in place"


@dataclass(eq=False)
class SharedMemory(Misbehaviour):
    """Two results share memory: who changes one in place changes the other."""

    changed: str
    other: str

    def __str__(self) -> str:
        return f"{self.other} changed when {self.changed} was changed in place: they share memory"


@dataclass(eq=False)
class FrozenGradient(Misbehaviour):
    """A parameter that requires no gradient was given one."""

    name: str

    def __str__(self) -> str:
        return f"{self.name} requires no gradient but was given one"


@dataclass(eq=False)
class SettingChanged(Misbehaviour):
    """A part of the layer left a setting of PyTorch's other than it found it."""

    stage: str
    setting: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.stage} changed PyTorch's {self.setting} from {self.before} to {self.after}"


@dataclass(eq=False)
class Seeded(Misbehaviour):
    """A global random generator, Python's or NumPy's, was seeded."""

    generator: str

    def __str__(self) -> str:
        return f"it seeded {self.generator} global random generator"


@dataclass(eq=False)
class SameDropout(Misbehaviour):
    """Two calls dropped the same elements."""

    def __str__(self) -> str:
        return "expected another call to drop other elements, got the same result twice"
