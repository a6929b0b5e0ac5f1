"""What a pytest run judges: the options and the registry turned into subjects."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest
import torch

from ...reference.spec import KINDS
from ..core.candidate import (
    DTYPES,
    Implementation,
    ImplementationError,
    dtype_named,
    implementation_from,
    missing_device,
    parse_implementation,
    require_buildable_somewhere,
)
from ..trials.question import Question
from ..trials.schedule import DEFAULT_EXAMPLES
from ..trials.table import trials_of
from ..trials.trial import Trial
from ..worker.child import declared
from ..worker.messages import Declared, Probe, Run, Target
from ..worker.parent import AVAILABLE, Workers

# The readable layers are judged where nothing else is named.
MANUAL = {kind: f"rnn_parity.manual:{kind.upper()}" for kind in KINDS}

DEVICES = ("cpu", "cuda")
INTERFACE = "interface"  # the aspect that is a layer's own affair, where it does not claim to replace the built-in

# What came of importing those named on the command line, by their option.
Probes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Subject:
    """One implementation on one device in one dtype.

    Args:
        implementation: as far as it is known here: only its own process may have imported it.
        device: such as "cpu" or "cuda".
        dtype: of every tensor.
        examples: cases for each trial.
        seed: which cases.
        target: what its own process loads it from, None where it runs in the pytest process.
        fault: why it cannot be judged, in one line; None where it can.
        interface: whether its names, initial values and errors are judged, too.
    """

    implementation: Implementation
    device: str
    dtype: torch.dtype
    examples: int
    seed: int
    target: Target | None = None
    fault: str | None = None
    interface: bool = False

    def __str__(self) -> str:
        return "-".join(self.named().values())

    def named(self) -> dict[str, str]:
        """Return what tells it from the others."""
        return {
            "implementation": self.implementation.name,
            "kind": self.implementation.kind,
            "device": self.device,
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def run(self, trial: Trial | Question, without: tuple[str, ...]) -> Run:
        """Return the request to ask a trial about it in its own process, without what fails already."""
        assert self.target is not None
        return Run(self.target, trial.aspect, trial.name, self.dtype, self.device, self.examples, self.seed, without)


def asked_of(subjects: list[Subject], aspect: str) -> list[tuple[Subject, Trial | Question]]:
    """Return which trials of an aspect are asked about which subjects."""
    return [
        (subject, trial)
        for subject in subjects
        for trial in trials_of(aspect)
        if (subject.interface or aspect != INTERFACE)
        and trial.applies_to(subject.implementation, subject.dtype, subject.device)
    ]


def missing_devices() -> dict[str, str]:
    """Return why a device that is judged by default is not, by its name."""
    return {device: missing for device in DEVICES if (missing := missing_device(device)) is not None}


def selected(config: pytest.Config, workers: Workers, probes: Probes) -> list[Subject]:
    """Return the subjects of a run.

    Args:
        config: with the options.
        workers: where candidates are imported.
        probes: what came of importing those named on the command line; what is missing is added.

    Raises:
        ValueError: an option that does not parse, or nothing named imports and builds; the message is one line.
    """
    option = config.option
    dtypes = [dtype_named(name) for name in option.parity_dtype or DTYPES]
    for device in option.parity_device:
        missing = missing_device(device)
        if missing is not None:
            raise ValueError(f"--parity-device must be a device that is there, got {device}: {missing}")
    devices = option.parity_device or [device for device in DEVICES if device not in missing_devices()]
    places = tuple((device, dtype) for device in devices for dtype in dtypes)
    examples, seed = option.parity_examples or DEFAULT_EXAMPLES, option.parity_seed
    found = [
        Subject(implementation, *places[0], examples, seed, target, fault, option.parity_interface)
        for implementation, target, fault in (
            *_named(option.parity_implementation, workers, probes, places),
            *_registered(config, workers, places),
        )
    ] or [
        Subject(
            implementation_from(location, kind), *places[0], examples, seed, _if_available(kind, location), None, True
        )
        for kind, location in MANUAL.items()
    ]
    if all(subject.fault for subject in found):
        raise ValueError(found[0].fault)
    return [subject for one in found for device in devices for subject in _in_each(one, device, dtypes)]


def _in_each(subject: Subject, device: str, dtypes: list[torch.dtype]) -> Iterator[Subject]:
    """Yield a subject in each dtype; names, initial values and errors are the same in all, and one is asked for."""
    one = next((dtype for dtype in dtypes if subject.implementation.supports(str(dtype).removeprefix("torch."))), None)
    for dtype in dtypes:
        yield replace(subject, device=device, dtype=dtype, interface=subject.interface and dtype == one)


Found = tuple[Implementation, Target | None, str | None]
Places = tuple[tuple[str, torch.dtype], ...]


def _if_available(kind: str, location: str) -> Target | None:
    return (kind, location) if AVAILABLE else None


def _named(options: list[str], workers: Workers, probes: Probes, places: Places) -> Iterator[Found]:
    """Yield what stands in here for the implementations that only their own processes import."""
    for text, (kind, location) in {text: parse_implementation(text) for text in options}.items():
        if text not in probes:
            probe = Probe((kind, location), places)
            probes[text] = asdict(workers.probe(location, probe) if AVAILABLE else declared(probe))
        found = Declared(**probes[text])
        if not AVAILABLE and found.fault is None:
            yield implementation_from(location, kind), None, None
            continue
        stand_in = Implementation(
            kind,
            _elsewhere,
            found.name or location,
            location,
            frozenset(found.unsupported),
            _elsewhere if found.adapter else None,
            dialect=tuple(found.dialect),
            draws_like_builtin=found.draws_like_builtin,
        )
        yield stand_in, (kind, location), found.fault


def _elsewhere(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("expected the layer to be built in its own process")


def _registered(config: pytest.Config, workers: Workers, places: Places) -> Iterator[Found]:
    """Yield what is registered in code, to run in a process of its own if that can load it too."""
    for implementations in config.hook.pytest_parity_implementations(config=config):
        for implementation in implementations:
            try:
                target = (implementation.kind, pickle.dumps(implementation)) if AVAILABLE else None
            except Exception:  # of what is pickled, anything may raise anything
                target = None
            if target is not None:
                found = workers.probe(implementation.name, Probe(target, places))
                if found.loadable:
                    yield implementation, target, found.fault
                    continue
            yield implementation, None, _fault_here(implementation, places)


def _fault_here(implementation: Implementation, places: Places) -> str | None:
    try:
        require_buildable_somewhere(implementation, places)
    except ImplementationError as error:
        return str(error)
    return None
