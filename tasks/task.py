"""What a task is: its data, its model and its settings; how it is trained is the same for all of them."""

import hashlib
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from cyclopts import Parameter, Token
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional

LayerFactory = Callable[..., nn.Module]
"""Builds a recurrent layer; called and answering like `torch.nn.LSTM`."""

State = Tensor | tuple[Tensor, Tensor]
"""The state of a recurrent layer: h, or an LSTM's pair (h, c)."""

ALIASES = {"builtin": "torch.nn", "manual": "rnn_parity.manual", "fused": "rnn_parity.manual.fused"}


class TaskError(Exception):
    """What stops a task, in one line: data that cannot be had, or a loss that is no number."""


def whole(least: int, most: float = math.inf) -> Parameter:
    """Return how an option that is a whole number within limits is read."""
    expected = f"expected a whole number from {least} {'up' if most == math.inf else f'to {most}'}"

    def read(_: Any, tokens: Sequence[Token]) -> int:
        text = tokens[0].value
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"{expected}, came {text!r}")
        return int(text)

    return Parameter(converter=read)


def _above_zero(_: Any, tokens: Sequence[Token]) -> float:
    try:
        value = float(text := tokens[0].value)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"expected a number above 0, came {text!r}")
    return value


Count = Annotated[int, whole(1)]
Positive = Annotated[float, Parameter(converter=_above_zero)]


def hidden(state: State) -> Tensor:
    """Return a state's h: all of it, or an LSTM's first half."""
    return state[0] if isinstance(state, tuple) else state


def detached(state: State) -> State:
    """Return a state without the graph that computed it: the values go on, the gradient ends there."""
    return (state[0].detach(), state[1].detach()) if isinstance(state, tuple) else state.detach()


def find_layer(name: str, kind: str, device: torch.device | str = "cpu") -> LayerFactory:
    """Return the layer that an implementation's name stands for.

    Args:
        name: "builtin", "manual", "fused" or MODULE:ATTRIBUTE.
        kind: the class an alias is asked for: "RNN", "GRU" or "LSTM".
        device: where the layer is tried on a small input.

    Returns:
        The layer's class, or whatever else builds a layer.

    Raises:
        TaskError: nothing of that name can be imported, or what it names does not answer like `torch.nn.LSTM`.
    """
    path = f"{ALIASES[name]}:{kind}" if name in ALIASES else name
    expected = f"expected a layer like torch.nn.{kind}, came {path!r}"
    if ":" not in path:
        raise TaskError(f"expected builtin, manual, fused or MODULE:ATTRIBUTE, came {name!r}")
    try:
        layer: LayerFactory = pkgutil.resolve_name(path)
        with torch.no_grad():
            output, _ = layer(3, 2, batch_first=True).to(device)(torch.zeros(1, 4, 3, device=device))
        shape = tuple(output.shape)
    except Exception as error:  # an import, and a call, run anybody's code
        raise TaskError(f"{expected}: {' '.join(f'{type(error).__name__}: {error}'.split())}") from error
    if shape != (1, 4, 2):
        raise TaskError(f"{expected}: output of shape {shape} where (1, 4, 2) is due")
    return layer


@dataclass(frozen=True, eq=False)
class Data:
    """The tensors a task trains and is measured on, each held once, on one device.

    Args:
        name: what the data is called on the command line and in `metrics.json`.
        train_input: (examples, ...), whatever the task's model takes.
        train_target: (examples, ...) of classes or of values.
        test_input: like `train_input`.
        test_target: like `train_target`.
        symbols: what the classes stand for, if not for themselves.
    """

    name: str
    train_input: Tensor
    train_target: Tensor
    test_input: Tensor
    test_target: Tensor
    symbols: str = ""

    def _tensors(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in vars(self).items() if isinstance(tensor, Tensor)}

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "Data":
        """Return the data on a device, its real numbers in a dtype."""
        moved: dict[str, Any] = {
            name: t.to(device, dtype if t.is_floating_point() else t.dtype) for name, t in self._tensors().items()
        }
        return replace(self, **moved)

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 sum of the four tensors' bytes, in order, computed once."""
        digest = hashlib.sha256()
        for tensor in self._tensors().values():
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def describe(self) -> dict[str, str | int]:
        """Return the data's name, its sizes and its checksum."""
        sizes = {"train_examples": len(self.train_input), "test_examples": len(self.test_input)}
        return {"name": self.name, **sizes, "sha256": self.sha256}


@dataclass
class Run:
    """What one training did.

    Args:
        implementation: whose layer was trained.
        model: the model, trained.
        losses: of each step, before the step.
        gradient_norms: of each step, over all parameters, before they are clipped.
        metrics: on the test examples, after each epoch.
        seconds: spent training in each epoch.
    """

    implementation: str
    model: nn.Module
    losses: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    metrics: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A system to train; the defaults are those of a classification trained with Adam.

    Every field is an option of the command line, explained there by its line in the class's docstring.

    Args:
        batch_size: examples in one step.
        learning_rate: of the optimizer.
    """

    name: ClassVar[str]
    metric: ClassVar[str] = "accuracy"
    loss_name: ClassVar[str] = "cross-entropy (nats)"
    clip: ClassVar[float] = math.inf
    """The norm that a step's gradients are clipped to, all parameters together."""
    mean_of_examples: ClassVar[bool] = False
    """Whether `loss` is the mean over a batch's examples, so that processes can share the batch."""

    batch_size: Count
    learning_rate: Positive

    @property
    @abstractmethod
    def layer(self) -> str | None:
        """The class in `torch.nn` whose place an implementation takes; None where there is no recurrent layer."""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """How often the training examples are seen where nobody says."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the models learn, as a sentence for the picture."""

    @abstractmethod
    def load(self) -> Data:
        """Return the task's data on the CPU.

        Raises:
            TaskError: the data cannot be had, or is damaged.
        """

    @abstractmethod
    def model(self, layer: LayerFactory, data: Data) -> nn.Module:
        """Return a new model around recurrent layers that `layer` builds."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of the model's parameters."""
        return torch.optim.Adam(model.parameters(), lr=self.learning_rate)

    def batches(self, data: Data, generator: torch.Generator) -> Sequence[Tensor]:
        """Return one epoch's batches, each the indices (batch,) of its training examples."""
        order = torch.randperm(len(data.train_input), generator=generator).to(data.train_input.device)
        return torch.split(order, self.batch_size)

    def loss(self, model: nn.Module, data: Data, indices: Tensor) -> Tensor:
        """Return the scalar loss of one batch."""
        logits = model(data.train_input[indices])  # (batch, ..., classes)
        return functional.cross_entropy(logits.flatten(0, -2), data.train_target[indices].flatten())

    def losses(self, model: nn.Module, data: Data, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield each batch's scalar loss; a step is taken before the next is asked for.

        A task that carries a state from batch to batch holds it here.
        """
        for indices in batches:
            yield self.loss(model, data, indices)

    @torch.no_grad()
    def predict(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Return the likeliest classes, (examples, ...), of inputs (examples, ...)."""
        model.eval()
        return torch.cat([model(part).argmax(-1) for part in torch.split(inputs, 1000)])

    def evaluate(self, model: nn.Module, data: Data) -> float:
        """Return the metric on the test examples."""
        return (self.predict(model, data.test_input) == data.test_target).double().mean().item()

    def note(self, model: nn.Module, data: Data) -> str:
        """Return what an epoch's line ends with."""
        return ""

    def closing(self, model: nn.Module, data: Data) -> str:
        """Return what is printed after the last epoch."""
        return ""

    @abstractmethod
    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Draw what the trained models answer, in the styles of `report.style`, and mark what is wrong."""
