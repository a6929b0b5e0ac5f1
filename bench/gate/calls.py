"""The calls of a plan: a layer's, and the built-in's on the same weights and input."""

from __future__ import annotations

from typing import NamedTuple

import torch

from rnn_parity.bench.arms import Arm, Setting, Shape, Truth, data_of, make_call, make_input
from rnn_parity.bench.gate.plan import Aggregate
from rnn_parity.bench.rounds import Call
from rnn_parity.judge.core.candidate import implementation_from
from rnn_parity.reference.builtin import builtin_layer
from rnn_parity.reference.spec import LayerSpec


class Calls(NamedTuple):
    """What is measured, and the control."""

    layer: Call
    control: Call


def calls_of(aggregate: Aggregate, shape: Shape, device: str) -> Calls:
    """Build both calls."""
    kind, location = aggregate.layer
    spec = LayerSpec(kind, shape.I, shape.H)
    torch.manual_seed(0)
    builtin = builtin_layer(spec, device=device)
    layer = implementation_from(location, kind).build(builtin, spec)
    inputs = make_input(Setting(kind.upper(), shape), device)

    def call(module: torch.nn.Module) -> Call:
        arm = Arm(lambda x: data_of(module(x)[0]), list(module.parameters()))
        return make_call(aggregate.step, arm, *inputs)

    return Calls(call(layer), call(builtin))


def assert_equal_results(aggregate: Aggregate, shape: Shape, device: str) -> None:
    """Hold what a layer returns against the truth; the gradients where its parameters have the built-in's names.

    Raises:
        AssertionError: it is not the built-in's.
    """
    kind, location = aggregate.layer
    truth = Truth(Setting(kind.upper(), shape), aggregate.step, device)
    found = calls_of(aggregate, shape, device).layer()
    named_alike = implementation_from(location, kind).from_builtin is None
    truth.assert_equal_results(found if named_alike else found[:1], named_alike)


def supports(aggregate: Aggregate) -> bool:
    """Whether a layer declares that it has what a step needs."""
    return aggregate.step == "forward" or implementation_from(*reversed(aggregate.layer)).supports("gradients")
