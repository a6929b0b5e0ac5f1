"""What a pytest run judges: the options and the registry turned into subjects."""

from __future__ import annotations

import contextlib
import pickle
import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from .child import Probe, Target
from .examine import DEFAULT_EXAMPLES
from .implementation import (
    DTYPES,
    Implementation,
    ImplementationError,
    dtype_named,
    implementation_from,
    missing_device,
    parse_implementation,
    require_buildable_somewhere,
)
from .isolation import AVAILABLE, Isolation
from .subject import MANUAL, Subject
from .tolerance import COPIES, FACTOR, longdouble_is_wider

Places = list[tuple[str, torch.dtype]]
Probes = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Found:
    """An implementation to judge.

    Args:
        implementation: what is known of it.
        target: what its own process imports it from, None where it runs in the pytest process.
        fault: why it cannot be judged, None where it can.
    """

    implementation: Implementation
    target: Target | None = None
    fault: str | None = None


def selected(config: pytest.Config, isolation: Isolation, probes: Probes) -> list[Subject]:
    """Return the subjects of a run.

    Args:
        config: with the options.
        isolation: where candidates are imported.
        probes: what came of importing those named on the command line, by their option; what is missing is added.

    Raises:
        ValueError: an option that does not parse, or nothing named imports and builds; the message is one line.
    """
    option = config.option
    dtypes = [dtype_named(name) for name in option.parity_dtype or DTYPES]
    devices = option.parity_device or ["cpu", "cuda"]
    missing = {device: missing_device(device) for device in devices}
    places = [(device, dtype) for device in devices if not missing[device] for dtype in dtypes]
    found = implementations(config, isolation, probes, places)
    if all(one.fault for one in found):
        raise ValueError(found[0].fault)
    return [
        Subject(
            one.implementation,
            dtype,
            device,
            option.parity_examples or DEFAULT_EXAMPLES,
            option.parity_seed,
            missing[device],
            one.target,
            one.fault,
        )
        for one in found
        for device in devices
        for dtype in dtypes
    ]


def implementations(config: pytest.Config, isolation: Isolation, probes: Probes, places: Places) -> list[Found]:
    """Return what is named on the command line and registered in code; the manual layers where that is nothing."""
    named = {text: parse_implementation(text) for text in config.option.parity_implementation}
    found = []
    for text, target in named.items():
        if text not in probes:
            probes[text] = _probe(isolation, target, places)
        found.append(_named(target, probes[text]))
    for registered in config.hook.pytest_parity_implementations(config=config):
        found += [_registered(implementation, isolation, places) for implementation in registered]
    return found or [
        Found(implementation_from(location, kind), (kind, location) if AVAILABLE else None)
        for kind, location in MANUAL.items()
    ]


def _probe(isolation: Isolation, target: Target, places: Places) -> dict[str, Any]:
    answer = isolation.probe(target, places) if AVAILABLE else Probe(target, tuple(places)).answer()
    return {**answer.value, "fault": answer.failure}


def _named(target: tuple[str, str], probe: dict[str, Any]) -> Found:
    """Stand in for an implementation that only its own process has imported."""
    kind, location = target
    if not AVAILABLE and probe["fault"] is None:
        return Found(implementation_from(location, kind))
    implementation = Implementation(
        kind,
        _elsewhere,
        probe.get("name", location),
        location,
        frozenset(probe.get("unsupported", ())),
        _elsewhere if probe.get("adapter") else None,
        draws_like_builtin=probe.get("draws_like_builtin", False),
    )
    return Found(implementation, target, probe["fault"])


def _elsewhere(*arguments: Any, **options: Any) -> Any:
    raise RuntimeError("expected the layer to be built in its own process")


def _registered(implementation: Implementation, isolation: Isolation, places: Places) -> Found:
    """Have a registered implementation run in its own process if that can import it too."""
    with contextlib.suppress(Exception):  # of what is pickled, anything may raise anything
        target = (implementation.kind, pickle.dumps(implementation))
        if AVAILABLE and isolation.probe(target, places).failure is None:
            return Found(implementation, target)
    try:
        require_buildable_somewhere(implementation, places)
    except ImplementationError as error:
        return Found(implementation, fault=str(error))
    return Found(implementation)


def header(seed: int) -> dict[str, Any]:
    """Return what a verdict depends on beside the layer: versions, machine, precision of the oracle."""
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "cuda": cuda,
        "tf32": False,
        "longdouble_digits": int(np.finfo(np.longdouble).nmant) + 1,
        "longdouble_is_wider": longdouble_is_wider(),
        "factor": FACTOR,
        "copies": COPIES,
        "seed": seed,
    }
