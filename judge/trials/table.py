"""The table of trials: what is asked of every implementation, a few trials for each aspect."""

from __future__ import annotations

import torch

from ..checks import autograd, dropout, relations
from ..checks.equations import EQUATIONS, packed
from ..checks.interface import POINTS
from ..checks.nonfinite import PLANTS, planted
from ..checks.repeat import REPEATED
from ..checks.second_order import SECOND_ORDER
from .question import Question
from .trial import Trial

LINEAR = (torch.float64,)  # the dtype with digits enough beside weights of 1e-4

TRIALS = (
    Trial("forward", "equations", EQUATIONS, {"states", "modes"}, tiles=True),
    Trial("gradients", "equations", EQUATIONS, {"gradients", "states", "modes"}, needs=("gradients",), tiles=True),
    Trial(
        "gradients", "output changed", autograd.OUTPUT_CHANGED, {"gradients", "stack", "states", "layouts", "packed"},
        needs=("gradients",), share=0.5,
    ),
    Trial(
        "gradients", "two losses", autograd.TWO_LOSSES, {"gradients", "stack", "states", "layouts", "packed"},
        needs=("gradients",), share=0.5,
    ),
    Trial("state", "given", EQUATIONS, {"gradients", "states", "modes"}, needs=("initial_state",)),
    Trial(
        "state", "carried", relations.CUT_AND_CARRY, {"states", "modes"},
        needs=("initial_state", "final_state"), adapt=relations.two_steps,
    ),
    Trial(
        "state", "absent is zero", relations.ABSENT_IS_ZERO, {"states", "modes"},
        needs=("initial_state",), share=0.5,
    ),
    Trial(
        "stacking", "layers", EQUATIONS, {"stack", "gradients", "states", "modes"},
        needs=("num_layers",), fixed={"bidirectional": False},
    ),
    Trial(
        "stacking", "directions", EQUATIONS, {"stack", "gradients", "states", "modes"},
        needs=("bidirectional",), fixed={"bidirectional": True, "num_layers": 1}, tiles=True,
    ),
    Trial(
        "stacking", "both", EQUATIONS, {"stack", "gradients", "states", "modes"},
        needs=("num_layers", "bidirectional"), fixed={"bidirectional": True}, share=1.5,
    ),
    Trial(
        "packed", "equations", EQUATIONS, {"packed", "layouts", "stack", "gradients", "states", "modes"},
        needs=("packed",), adapt=packed, tiles=True,
    ),
    Trial("layouts", "equations", EQUATIONS, {"layouts", "stack", "gradients", "states", "modes"}, share=2.0),
    Trial(
        "dropout", "eval", dropout.CERTAIN, {"stack", "gradients", "states", "layouts", "packed"},
        needs=("dropout",), adapt=dropout.dropping(0.5, "eval"), share=0.5,
    ),
    Trial(
        "dropout", "eval after training", dropout.CERTAIN, {"stack", "gradients", "states", "layouts", "packed"},
        needs=("dropout",), adapt=dropout.dropping(0.5, "train", "eval"), share=0.5,
    ),
    Trial(
        "dropout", "p = 1", dropout.CERTAIN, {"stack", "gradients", "states", "layouts", "packed"},
        needs=("dropout",), adapt=dropout.dropping(1.0, "train"), share=0.5,
    ),
    Trial(
        "dropout", "a single layer", dropout.CERTAIN, {"gradients", "states", "layouts", "packed"},
        needs=("dropout",), adapt=dropout.alone, share=0.2,
    ),
    Trial(
        "dropout", "distribution", dropout.DISTRIBUTION, {"stack", "states", "layouts", "packed"},
        needs=("dropout", "num_layers", "gradients"),
        adapt=dropout.linear, share=0.2, dtypes=LINEAR,
    ),
    Trial(
        "dropout", "each boundary", dropout.EACH_BOUNDARY, {"stack", "packed"},
        needs=("dropout", "num_layers"), adapt=dropout.three_layers, share=0.1, precise=True,
    ),
    Trial(
        "dropout", "like the built-in", dropout.LIKE_BUILTIN, {"stack", "gradients", "states", "layouts"},
        needs=("dropout", "num_layers"), adapt=dropout.dropping(0.5, "train", layers=2), share=0.5, like_builtin=True,
    ),
    Trial(
        "relations", "time reversal", relations.TIME_REVERSAL, {"stack", "states", "modes"},
        needs=("bidirectional",), fixed={"num_layers": 1, "bidirectional": True}, share=0.5,
    ),
    Trial(
        "relations", "cut and carry", relations.CUT_AND_CARRY, {"stack", "states", "modes", "layouts"},
        needs=("initial_state", "final_state"), fixed={"bidirectional": False}, adapt=relations.two_steps, share=0.5,
    ),
    Trial(
        "relations", "batch permutation", relations.BATCH_PERMUTATION, {"stack", "states", "modes", "layouts"},
        share=0.5,
    ),
    Trial(
        "relations", "one by one", relations.ONE_BY_ONE, {"stack", "states", "modes", "packed"},
        needs=("packed",), adapt=packed, share=0.5,
    ),
    Trial(
        "repeatability", "second call", REPEATED,
        {"gradients", "stack", "states", "modes", "layouts", "packed"}, share=0.5,
    ),
    Trial(
        "repeatability", "same seed", REPEATED, {"gradients", "stack", "states", "layouts", "packed"},
        needs=("dropout", "num_layers", "seed"), adapt=dropout.dropping(0.5, "train", layers=2), share=0.5,
    ),
    *(
        Trial(
            "nonfinite", plant, EQUATIONS, {"gradients", "states", "stack", "packed"},
            needs=("initial_state",) if plant == "NaN in the state" else (), adapt=planted(plant), share=0.3,
        )
        for plant in PLANTS
    ),
    Trial(
        "second_order", "equations", SECOND_ORDER, {"gradients", "states", "stack", "layouts", "packed"},
        needs=("gradients", "second_order"), share=0.5,
    ),
    Trial(
        "gradients", "an argument changed", autograd.ARGUMENT_CHANGED, {"gradients", "stack", "states", "packed"},
        needs=("gradients",), share=0.6,
    ),
)  # fmt: skip

ASPECTS = tuple(dict.fromkeys(trial.aspect for trial in TRIALS))

# Asked of the manual layers, and of others on demand: a right layer may be no drop-in.
QUESTIONS = tuple(Question("interface", point) for point in POINTS)


def trials_of(aspect: str) -> list[Trial | Question]:
    """Return the trials of one aspect, the questions of "interface"."""
    asked: tuple[Trial | Question, ...] = (*TRIALS, *QUESTIONS)
    return [trial for trial in asked if trial.aspect == aspect]


def trial_named(aspect: str, name: str) -> Trial | Question:
    """Return one trial or question."""
    return next(trial for trial in trials_of(aspect) if trial.name == name)
