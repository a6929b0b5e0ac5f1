"""The aspects of a verdict: what is asked of every implementation, a few trials each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from . import dropout, relations
from .cases import Case
from .examine import DEFAULT_EXAMPLES, Trial, check, examine
from .implementation import dtype_named, implementation_from, missing_device, require_buildable
from .nonfinite import PLANTS, planted
from .repeatability import repeated
from .second_order import second_order
from .verdict import ParityError, judge
from .watching import Streams

ROUNDS = (0.25, 0.25, 0.25, 0.5)  # of every trial's examples, so that a fault shows soon, whatever shows it
LINEAR = (torch.float64,)  # the dtype with digits enough beside weights of 1e-4


def _packed(case: Case) -> Case:
    """Pack every case, with the lengths counting down from seq_len where none were drawn."""
    if case.lengths is not None:
        return case
    return replace(case, batched=True, lengths=tuple(max(1, case.seq_len - row) for row in range(case.batch)))


def _two_steps(case: Case) -> Case:
    return replace(case, seq_len=max(2, case.seq_len))


def _dropping(p: float, *modes: str, layers: int = 1) -> Callable[[Case], Case]:
    """Give a case dropout, and so many layers at least: one alone drops nothing."""

    def adapt(case: Case) -> Case:
        spec = replace(case.spec, dropout=p, num_layers=max(layers, case.spec.num_layers))
        return replace(case, spec=spec, modes=modes, dropout_seed=case.seed)

    return adapt


def _linear(case: Case) -> Case:
    """Make the upper layers linear in their input, and the loss a sum over the output alone, for a batch of one row."""
    case = _dropping((0.2, 0.5, 0.8)[case.seed % 3], "train")(case)
    seq_len, packed = min(case.seq_len, 3), case.lengths is not None
    layers = max(2, min(3, case.spec.num_layers))
    # Without a bias a third layer is given the product of both factors, and not their sum to 1e-4; and a relu is at
    # its kink.
    relu = case.spec.nonlinearity == "relu"
    bias = case.spec.bias or layers > 2 or relu
    spec = replace(case.spec, num_layers=layers, bias=bias)
    one_row = replace(case, spec=spec, seq_len=seq_len, batch=1, batched=True, lengths=(seq_len,) if packed else None)
    # The smaller the weights, the fewer relus come near their kink.
    scale = 1e-7 if relu else 1e-4
    plain = replace(one_row, weight_scale=scale, input_scale=1.0, cotangents=("output",), plain_sum=False, frozen=())
    return replace(plain, input_grad=True, input_layout="contiguous", state_layout="contiguous")


TRIALS = (
    Trial("forward", "equations", judge, {"states", "modes"}),
    Trial("gradients", "equations", judge, {"gradients", "states", "modes"}, needs=("gradients",)),
    Trial(
        "gradients", "two losses", relations.two_losses, {"gradients", "stack", "states", "layouts", "packed"},
        needs=("gradients",), share=0.5,
    ),
    Trial("state", "given", judge, {"gradients", "states", "modes"}, needs=("initial_state",)),
    Trial("state", "carried", relations.cut_and_carry, {"states", "modes"}, needs=("initial_state",), adapt=_two_steps),
    Trial(
        "state", "absent is zero", relations.absent_is_zero, {"states", "modes"},
        needs=("initial_state",), share=0.5,
    ),
    Trial(
        "stacking", "layers", judge, {"stack", "gradients", "states", "modes"},
        needs=("num_layers",), fixed={"bidirectional": False},
    ),
    Trial(
        "stacking", "directions", judge, {"stack", "gradients", "states", "modes"},
        needs=("bidirectional",), fixed={"bidirectional": True, "num_layers": 1},
    ),
    Trial(
        "stacking", "both", judge, {"stack", "gradients", "states", "modes"},
        needs=("num_layers", "bidirectional"), fixed={"bidirectional": True}, share=1.5,
    ),
    Trial(
        "packed", "equations", judge, {"packed", "layouts", "stack", "gradients", "states", "modes"},
        needs=("packed",), adapt=_packed,
    ),
    Trial("layouts", "equations", judge, {"layouts", "stack", "gradients", "states", "modes"}, share=2.0),
    Trial(
        "dropout", "eval", dropout.certain, {"stack", "gradients", "states", "layouts", "packed"},
        needs=("dropout",), adapt=_dropping(0.5, "eval"), share=0.5,
    ),
    Trial(
        "dropout", "eval after training", dropout.certain, {"stack", "gradients", "states", "layouts", "packed"},
        needs=("dropout",), adapt=_dropping(0.5, "train", "eval"), share=0.5,
    ),
    Trial(
        "dropout", "p = 1", dropout.certain, {"stack", "gradients", "states", "layouts", "packed"},
        needs=("dropout",), adapt=_dropping(1.0, "train"), share=0.5,
    ),
    Trial(
        "dropout", "distribution", dropout.distribution, {"stack", "states", "layouts", "packed"},
        needs=("dropout", "num_layers", "gradients"),
        adapt=_linear, share=0.2, dtypes=LINEAR,
    ),
    Trial(
        "dropout", "like the built-in", dropout.like_builtin, {"stack", "gradients", "states", "layouts"},
        needs=("dropout", "num_layers"), adapt=_dropping(0.5, "train", layers=2), share=0.5, like_builtin=True,
    ),
    Trial(
        "relations", "time reversal", relations.time_reversal, {"stack", "states", "modes"},
        needs=("bidirectional",), fixed={"num_layers": 1, "bidirectional": True}, share=0.5,
    ),
    Trial(
        "relations", "cut and carry", relations.cut_and_carry, {"stack", "states", "modes", "layouts"},
        needs=("initial_state",), fixed={"bidirectional": False}, adapt=_two_steps, share=0.5,
    ),
    Trial(
        "relations", "batch permutation", relations.batch_permutation, {"stack", "states", "modes", "layouts"},
        share=0.5,
    ),
    Trial(
        "relations", "one by one", relations.one_by_one, {"stack", "states", "modes", "packed"},
        needs=("packed",), adapt=_packed, share=0.5,
    ),
    Trial(
        "repeatability", "second call", repeated,
        {"gradients", "stack", "states", "modes", "layouts", "packed"}, share=0.5,
    ),
    Trial(
        "repeatability", "same seed", repeated, {"gradients", "stack", "states", "layouts", "packed"},
        needs=("dropout", "num_layers"), adapt=_dropping(0.5, "train", layers=2), share=0.5,
    ),
    *(
        Trial(
            "nonfinite", plant, judge, {"gradients", "states", "stack", "packed"},
            needs=("initial_state",) if plant == "NaN in the state" else (), adapt=planted(plant), share=0.3,
        )
        for plant in PLANTS
    ),
    Trial(
        "second_order", "equations", second_order, {"gradients", "states", "stack", "layouts", "packed"},
        needs=("gradients", "second_order"), share=0.5,
    ),
)  # fmt: skip

ASPECTS = tuple(dict.fromkeys(trial.aspect for trial in TRIALS))


def trials_of(aspect: str) -> list[Trial]:
    """Return the trials of one aspect."""
    return [trial for trial in TRIALS if trial.aspect == aspect]


def trial_named(aspect: str, name: str) -> Trial:
    """Return one trial."""
    return next(trial for trial in trials_of(aspect) if trial.name == name)


def in_rounds(trials: Sequence[Trial], examples: int, seed: int) -> Iterator[tuple[Trial, dict[str, Any]]]:
    """Yield trials and how to `examine` them: some cases of each trial, then others, the stretched ones among them."""
    for number, share in enumerate(ROUNDS, start=1):
        for trial in trials:
            drawn = max(1, round(share * examples))
            yield trial, {"examples": drawn, "random_seed": len(ROUNDS) * seed + number, "stretched": number == 2}


def replay(target: Any, aspect: str, name: str, case: Case) -> None:
    """Ask one trial for its verdict on one case, as a reproducer does.

    Args:
        target: what `implementation_from` takes.
        aspect: of the trial.
        name: of the trial.
        case: from the verdict that is replayed.

    Raises:
        ParityError: the verdict is against the implementation.
    """
    trial, streams = trial_named(aspect, name), Streams()
    for _ in range(2):  # a generator that was seeded shows when it is seeded again
        verdict = check(trial, implementation_from(target, case.spec.kind), case, streams)
        if not verdict.ok:
            raise ParityError(verdict, f"{aspect}: {name}")


def assert_parity(
    implementation: Any,
    kind: str,
    *,
    dtype: torch.dtype | str = torch.float64,
    device: str = "cpu",
    aspects: Sequence[str] | str = ASPECTS,
    examples: int = DEFAULT_EXAMPLES,
    seed: int = 0,
) -> None:
    """Judge an implementation, for use in anyone's own tests.

    Args:
        implementation: a layer class with the constructor of `torch.nn`'s, a factory, an adapter, an
            `Implementation`, or MODULE:ATTRIBUTE that names one.
        kind: "rnn", "gru" or "lstm".
        dtype: of every tensor; faults of the equations show in float64.
        device: "cpu" or "cuda".
        aspects: which of `ASPECTS` to judge.
        examples: cases for each trial of an aspect.
        seed: which cases.

    Raises:
        ParityError: an AssertionError with the worst tensor, its error and bound, and a reproducer.
        ImplementationError: the implementation does not import or build.
        ValueError: an unknown kind, dtype, device or aspect, a device that is not there, or nothing of what is asked is
            supported.
    """
    __tracebackhide__ = True
    judged = implementation_from(implementation, kind)
    dtype = dtype_named(str(dtype).removeprefix("torch."))
    aspects = [aspects] if isinstance(aspects, str) else aspects
    if examples < 1:
        raise ValueError(f"examples must be at least 1, got {examples}")
    missing = missing_device(device)
    if missing is not None:
        raise ValueError(missing)
    unknown = set(aspects) - set(ASPECTS)
    if unknown:
        raise ValueError(f"aspects must be among {', '.join(ASPECTS)}, got {', '.join(sorted(unknown))}")
    trials = [
        trial
        for trial in TRIALS
        if trial.aspect in aspects
        and trial.applies_to(judged, dtype, device)
        and not trial.unsupported(judged, dtype, device)
    ]
    if not trials:
        raise ValueError(f"{judged.name} declares everything that was asked unsupported: {', '.join(aspects)}")
    require_buildable(judged, device, dtype)
    for trial, options in in_rounds(trials, examples, seed):
        examine(trial, judged, dtype, device, **options)
