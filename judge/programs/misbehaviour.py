"""Programs that show what no right layer does, whatever its numbers: a template for each kind of `Misbehaviour`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from ..core.candidate import Implementation
from ..core.case import Case
from ..core.check import Program
from ..core.misbehaviour import (
    ChangedInPlace,
    Ended,
    Misbehaviour,
    OtherParameters,
    Raised,
    Reformed,
    SameDropout,
    Seeded,
    SettingChanged,
)
from .parts import inside, variable
from .rendering import rendered

SETTING_CODE = {
    "inference mode": "torch.is_inference_mode_enabled()",
    "gradient mode": "torch.is_grad_enabled()",
    "default dtype": "torch.get_default_dtype()",
    "default device": "torch.get_default_device()",
    "number of threads": "torch.get_num_threads()",
    "random seed": "torch.initial_seed()",
    "deterministic mode": "torch.get_deterministic_debug_mode()",
    "float32 matmul precision": "torch.get_float32_matmul_precision()",
    "precision of float32 products": "[p.fp32_precision for b in [torch.backends]"
    " for p in (b.mkldnn.matmul, b.mkldnn.rnn, b.cuda.matmul, b.cudnn.rnn)]",
    "anomaly mode": "torch.is_anomaly_enabled()",
    "autocast": "(torch.is_autocast_enabled('cpu'), torch.is_autocast_enabled('cuda'))",
    "use of cuDNN": "torch.backends.cudnn.enabled",
    "use of cuDNN's benchmark": "torch.backends.cudnn.benchmark",
    "use of TF32 in cuDNN": "torch.backends.cudnn.allow_tf32",
    "CUDA random seeds": "[g.initial_seed() for g in torch.cuda.default_generators]",
    "current CUDA device": "torch.cuda.current_device()",
    "current CUDA stream": "torch.cuda.current_stream()",
}
GENERATORS = {"Python's": "__import__('random')", "NumPy's": "__import__('numpy').random"}

# What a program finds out itself, in variables of these names.
FOUND_OUT = ("came", "before", "after")


def misbehaving(case: Case, implementation: Implementation, seen: Misbehaviour) -> Iterator[Program]:
    """Write the programs that make the call in which a misbehaviour was seen, the simplest first.

    Args:
        case: in which it was seen.
        implementation: the candidate.
        seen: what was seen.
    """
    stage = getattr(seen, "stage", "")
    if isinstance(seen, SameDropout) or stage == "second backward":
        return  # which forms of their own show
    template = "built" if stage == "building it" else type(seen).__name__
    values = {"seen": seen, "says": _says(seen), "code": None} | _values(seen)
    texts = {rendered(template, inside(each, implementation), **values): None for each in _simpler(case, seen)}
    for text in texts:
        yield Program(text, expected(seen))


def expected(seen: Misbehaviour) -> str:
    """Return how a program that shows the misbehaviour fails: its exception and how that begins."""
    if isinstance(seen, Raised):
        return f"{seen.exception}: {seen.text}"
    return f"AssertionError: {_says(seen).partition('{')[0]}"


def _says(seen: Misbehaviour) -> str:
    """Return the sentence about it, with the variables of the program in place of what was found out."""
    found = {field.name: f"{{{field.name}}}" for field in fields(seen) if field.name in FOUND_OUT}  # type: ignore[arg-type]
    if isinstance(seen, OtherParameters):
        return str(OtherParameters(["{before}"], ["{after}"]))
    return str(replace(seen, **found))  # type: ignore[type-var]


def _simpler(case: Case, seen: Misbehaviour) -> list[Case]:
    """Return the case in simpler forms, and last as it is."""
    if isinstance(seen, Ended):  # nobody tries which of them shows it
        return [case]
    if isinstance(seen, Seeded):
        return [replace(case, modes=(mode,)) for mode in dict.fromkeys(reversed(case.modes))]
    once = replace(case, modes=case.modes[-1:])
    return [replace(once, cotangents=(), frozen=()), once, case]


def _values(seen: Misbehaviour) -> dict[str, Any]:
    """Return what the template of its kind needs beside its fields."""
    match seen:
        case SettingChanged(before="mixed") | SettingChanged(after="mixed"):  # which PyTorch refuses to read
            return {"code": SETTING_CODE["precision of float32 products"]}
        case SettingChanged():
            return {"code": SETTING_CODE[seen.setting]}
        case Seeded():
            return {"module": GENERATORS[seen.generator]}
        case ChangedInPlace(what="parameter") | Reformed(what="parameter"):
            return {"of_packed": False, "tensor": f"layer.get_parameter({seen.name!r})"}
        case ChangedInPlace() | Reformed():
            of_packed = "." in seen.name  # a field of it, such as input.data
            return {
                "of_packed": of_packed,
                "tensor": seen.name.replace("input", "sequence") if of_packed else variable(seen.name),
            }
    return {}
