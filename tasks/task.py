"""What a task is: its data, its model and its settings; how it is trained is the same for all of them."""

import argparse
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn import functional

LayerFactory = Callable[..., nn.Module]
"""Builds a recurrent layer; called and answering like `torch.nn.LSTM`."""


class TaskError(Exception):
    """What stops a task, in one line: data that cannot be had, or a loss that is no number."""


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

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> "Data":
        """Return the data on a device, its real numbers in a dtype."""
        names = ("train_input", "train_target", "test_input", "test_target")
        tensors: dict[str, Tensor] = {name: getattr(self, name) for name in names}
        moved: dict[str, Any] = {
            name: t.to(device, dtype if t.is_floating_point() else t.dtype) for name, t in tensors.items()
        }
        return replace(self, **moved)

    def describe(self) -> dict[str, str | int]:
        """Return the data's name, its sizes and the SHA-256 sum of its four tensors' bytes, in order."""
        digest = hashlib.sha256()
        for tensor in (self.train_input, self.train_target, self.test_input, self.test_target):
            digest.update(tensor.cpu().numpy().tobytes())
        sizes = {"train_examples": len(self.train_input), "test_examples": len(self.test_input)}
        return {"name": self.name, **sizes, "sha256": digest.hexdigest()}


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


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """A system to train; the defaults are those of a classification trained with Adam.

    Args:
        batch_size: examples in one step.
        learning_rate: of the optimizer.
    """

    name: ClassVar[str]
    metric: ClassVar[str] = "accuracy"
    loss_name: ClassVar[str] = "cross-entropy (nats)"
    clip: ClassVar[float | None] = None
    """The norm that a step's gradients are clipped to, all parameters together."""
    mean_of_examples: ClassVar[bool] = False
    """Whether `loss` is the mean over a batch's examples, so that processes can share the batch."""

    batch_size: int
    learning_rate: float

    @property
    @abstractmethod
    def layer(self) -> str | None:
        """The class in `torch.nn` whose place an implementation takes; None where there is no recurrent layer."""

    @property
    @abstractmethod
    def epochs(self) -> int:
        """How often the training examples are seen where nobody says."""

    @classmethod  # noqa: B027
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the task's own options, if any; each is named like the field of the task that it sets."""

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

    def illustrate(self, axes: Axes, runs: Sequence[Run], data: Data) -> None:
        """Draw what the trained models answer; by default, how the metric grew."""
        for place, run in enumerate(runs):
            epochs = range(1, len(run.metrics) + 1)
            axes.plot(epochs, run.metrics, color=f"C{place}", marker=".", linewidth=1.5 * (len(runs) - place))
        axes.set(xlabel="epoch", ylabel=self.metric)
        axes.grid(alpha=0.3)
