"""What a pytest run judges: the options and the registry turned into subjects."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
import pytest
import torch

from .examine import DEFAULT_EXAMPLES
from .implementation import (
    DTYPES,
    Implementation,
    dtype_named,
    implementation_from,
    missing_device,
    parse_implementation,
    require_buildable,
)
from .subject import MANUAL, Subject
from .tolerance import COPIES, FACTOR, longdouble_is_wider


def selected(config: pytest.Config) -> list[Subject]:
    """Return the subjects of a run.

    Raises:
        ValueError: an option that does not parse, import or build; the message is one line.
    """
    option = config.option
    dtypes = [dtype_named(name) for name in option.parity_dtype or DTYPES]
    devices = option.parity_device or ["cpu", "cuda"]
    missing = {device: missing_device(device) for device in devices}
    found = implementations(config)
    for implementation in found:
        _require_buildable_somewhere(implementation, [d for d in devices if not missing[d]], dtypes)
    return [
        Subject(
            implementation,
            dtype,
            device,
            option.parity_examples or DEFAULT_EXAMPLES,
            option.parity_seed,
            missing[device],
        )
        for implementation in found
        for device in devices
        for dtype in dtypes
    ]


def implementations(config: pytest.Config) -> list[Implementation]:
    """Return what is named on the command line and registered in code; the manual layers where that is nothing."""
    named = [parse_implementation(text) for text in config.option.parity_implementation]
    for registered in config.hook.pytest_parity_implementations(config=config):
        named += registered
    return named or [implementation_from(location, kind) for kind, location in MANUAL.items()]


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


def _require_buildable_somewhere(implementation: Implementation, devices: list[str], dtypes: list[torch.dtype]) -> None:
    for device in devices:
        for dtype in dtypes:
            names = (torch.device(device).type, str(dtype).removeprefix("torch."))
            if all(map(implementation.supports, names)):
                require_buildable(implementation, device, dtype)
                return
