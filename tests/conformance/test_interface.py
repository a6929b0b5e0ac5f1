"""A layer is built, stored and printed as the built-in of its kind, and returns the same types and shapes."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from rnn_parity.judge.subject import Subject
from rnn_parity.tests.conformance.subject_layers import (
    HIDDEN,
    INPUT,
    LAYERS,
    OWN,
    SPECS,
    build_both,
    good_input,
    tensors,
)

# torch says so once a process when its LSTM projects in float32 or bfloat16.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


@pytest.mark.parametrize("spec", SPECS)
def test_parameters_have_the_names_order_and_initial_values_of_the_built_in(subject: Subject, spec: str) -> None:
    layer, builtin = build_both(subject, spec)
    assert [name for name, _ in layer.named_parameters()] == [name for name, _ in builtin.named_parameters()]
    for (name, parameter), expected in zip(layer.named_parameters(), builtin.parameters(), strict=True):
        assert parameter.dtype == expected.dtype, name
        assert parameter.device == expected.device, name
        assert torch.equal(parameter, expected), f"{name} starts from other values under the same seed"


@pytest.mark.parametrize("spec", SPECS)
def test_state_dict_travels_both_ways(subject: Subject, spec: str) -> None:
    layer, builtin = build_both(subject, spec)
    for source, target in ((layer, builtin), (builtin, layer)):
        for parameter in source.parameters():
            nn.init.normal_(parameter)
        target.load_state_dict(source.state_dict(), strict=True)
        assert list(target.state_dict()) == list(source.state_dict())
        for name, tensor in source.state_dict().items():
            assert torch.equal(target.state_dict()[name], tensor), name


@pytest.mark.parametrize("spec", SPECS)
def test_prints_as_the_built_in(subject: Subject, spec: str) -> None:
    layer, builtin = build_both(subject, spec)
    assert layer.extra_repr() == builtin.extra_repr()
    assert repr(layer) == repr(builtin).replace(type(builtin).__name__, type(layer).__name__, 1)


@pytest.mark.parametrize("spec", SPECS)
def test_keeps_its_options_as_attributes(subject: Subject, spec: str) -> None:
    layer, builtin = build_both(subject, spec)
    names = ["input_size", "hidden_size", "proj_size", *SPECS["all"]]
    names.remove("own")
    for name in [*names, *OWN[subject.kind]]:
        assert getattr(layer, name) == getattr(builtin, name), name


def test_takes_positional_arguments_in_the_order_of_the_built_in(subject: Subject) -> None:
    nonlinearity = {"rnn": ("relu",)}.get(subject.kind, ())
    projection = {"lstm": (2,)}.get(subject.kind, ())
    arguments = (INPUT, HIDDEN, LAYERS, *nonlinearity, False, True, 0.25, True, *projection)
    layer, builtin = subject.factory(*arguments), subject.builtin(*arguments)
    assert layer.extra_repr() == builtin.extra_repr()
    assert [p.shape for p in layer.parameters()] == [p.shape for p in builtin.parameters()]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("layout", ["batched", "unbatched", "packed", "packed unsorted"])
@pytest.mark.parametrize("with_state", [True, False], ids=["state", "no state"])
def test_returns_the_types_and_shapes_of_the_built_in(
    subject: Subject, spec: str, layout: str, with_state: bool
) -> None:
    layer, builtin = build_both(subject, spec)
    arguments = good_input(subject, builtin, layout)[: 2 if with_state else 1]
    (output, state), (expected, expected_state) = layer(*arguments), builtin(*arguments)
    assert isinstance(output, PackedSequence) == isinstance(expected, PackedSequence)
    assert output.data.shape == expected.data.shape
    assert output.data.dtype == expected.data.dtype
    assert type(state) is type(expected_state)
    for tensor, expected_tensor in zip(tensors(state), tensors(expected_state), strict=True):
        assert tensor.shape == expected_tensor.shape
        assert tensor.dtype == expected_tensor.dtype
    if isinstance(expected, PackedSequence):
        assert list(map(listed, output[1:])) == list(map(listed, expected[1:]))


def listed(indices: Tensor | None) -> list[int] | None:
    return None if indices is None else indices.tolist()


def test_warns_of_dropout_without_a_second_layer_as_the_built_in_does(subject: Subject) -> None:
    def warned(factory: Callable[..., nn.Module], **options: Any) -> list[tuple[type[Warning], str]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            factory(INPUT, HIDDEN, **options)
        return [(warning.category, str(warning.message)) for warning in caught]

    for options in ({"dropout": 0.5}, {"dropout": 0.5, "num_layers": LAYERS}, {}):
        assert warned(subject.factory, **options) == warned(subject.builtin, **options)
