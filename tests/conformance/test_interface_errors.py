"""A layer refuses bad input as the built-in of its kind does.

The rule for bad input: the same exception class; and the same message where the built-in's message is that
of an argument check. Where the built-in makes no check and the words are those of whichever kernel met the
tensor first (they differ between devices and dtypes), only the class is compared. What the built-in accepts
in a call, the layer must accept.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnn_parity.judge.subject import Subject
from rnn_parity.tests.conformance.subject_layers import (
    BATCH,
    HIDDEN,
    INPUT,
    LAYERS,
    SEQ,
    build,
    build_both,
    good_input,
    state,
    tensors,
    zeros,
)

# torch says so once a process when its LSTM projects in float32 or bfloat16.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")

ALL, NONE = ("rnn", "gru", "lstm"), ()


class BadOptions(NamedTuple):
    """Constructor arguments that are refused, and the kinds where the message is compared too."""

    options: dict[str, Any]
    same_message: tuple[str, ...] = ALL


BAD_OPTIONS: dict[str, BadOptions] = {
    "no input": BadOptions({"input_size": 0}),
    "negative input": BadOptions({"input_size": -1}),
    "fractional input": BadOptions({"input_size": 3.0}),
    "input is text": BadOptions({"input_size": "3"}),
    "no hidden": BadOptions({"hidden_size": 0}),
    "negative hidden": BadOptions({"hidden_size": -1}),
    "fractional hidden": BadOptions({"hidden_size": 4.0}),
    "no layers": BadOptions({"num_layers": 0}),
    "negative layers": BadOptions({"num_layers": -1}),
    "fractional layers": BadOptions({"num_layers": 1.5}, NONE),
    "bias is no bool": BadOptions({"bias": 1}),
    "batch_first is no bool": BadOptions({"batch_first": None}),
    "dropout above 1": BadOptions({"dropout": 1.5}),
    "dropout below 0": BadOptions({"dropout": -0.1}),
    "dropout is not a number": BadOptions({"dropout": float("nan")}),
    "dropout is a bool": BadOptions({"dropout": True}),
    "dropout is text": BadOptions({"dropout": "half"}, NONE),
    "dropout is None": BadOptions({"dropout": None}, NONE),
    # RNN and GRU have no projection, and say so; GRU and LSTM know no nonlinearity.
    "projection as large as hidden": BadOptions({"proj_size": HIDDEN}),
    "projection larger than hidden": BadOptions({"proj_size": HIDDEN + 1}),
    "negative projection": BadOptions({"proj_size": -1}),
    "unknown nonlinearity": BadOptions({"nonlinearity": "cube"}, ("rnn",)),
    "unknown option": BadOptions({"colour": "red"}, NONE),
    "integer dtype": BadOptions({"dtype": torch.int64}, NONE),
    "unknown device": BadOptions({"device": "nowhere"}, NONE),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_refuses_to_be_built_as_the_built_in_does(subject: Subject, case: str) -> None:
    bad = BAD_OPTIONS[case]
    options = {"input_size": INPUT, "hidden_size": HIDDEN} | bad.options
    error, expected = (error_of(lambda f=f: f(**options)) for f in (subject.factory, subject.builtin))
    assert expected is not None, "the built-in accepts this"
    assert_same_error(error, expected, subject.kind in bad.same_message)


class BadCall(NamedTuple):
    """A call that is refused, and the kinds where the message is compared too.

    `arguments` makes input and state, given the built-in; `options` are those the layers are built with.
    """

    arguments: Callable[[Subject, nn.RNNBase], tuple[Any, ...]]
    same_message: tuple[str, ...] = ALL
    options: dict[str, Any] = {}  # noqa: RUF012 (never changed)


def other_dtype(subject: Subject) -> torch.dtype:
    return torch.float32 if subject.dtype == torch.float64 else torch.float64


def other_device(subject: Subject) -> str:
    return "meta" if subject.device == "cpu" else "cpu"


def batch(subject: Subject, **options: Any) -> Tensor:
    return zeros(subject, SEQ, BATCH, INPUT, **options)


def packed(subject: Subject, features: int = INPUT, **options: Any) -> PackedSequence:
    return pack_padded_sequence(zeros(subject, SEQ, BATCH, features, **options), [SEQ, 1])


TWO = {"num_layers": LAYERS, "bidirectional": True}

BAD_CALLS: dict[str, BadCall] = {
    # Rank, features and length of the input.
    "1-D input": BadCall(lambda s, m: (zeros(s, INPUT),)),
    "4-D input": BadCall(lambda s, m: (zeros(s, 1, SEQ, BATCH, INPUT),)),
    "features": BadCall(lambda s, m: (zeros(s, SEQ, BATCH, INPUT + 1),)),
    "features, unbatched": BadCall(lambda s, m: (zeros(s, SEQ, INPUT - 1),)),
    "features, batch first": BadCall(lambda s, m: (zeros(s, BATCH, SEQ, INPUT + 1),), options={"batch_first": True}),
    "no steps": BadCall(lambda s, m: (zeros(s, 0, BATCH, INPUT),)),
    "no steps, unbatched": BadCall(lambda s, m: (zeros(s, 0, INPUT),)),
    "no steps, batch first": BadCall(lambda s, m: (zeros(s, BATCH, 0, INPUT),), options={"batch_first": True}),
    # Rank, sizes and number of the state.
    "state 2-D for a batch": BadCall(lambda s, m: (batch(s), state(s, m, BATCH))),
    "state 4-D for a batch": BadCall(lambda s, m: (batch(s), state(s, m, 1, 1, BATCH))),
    "state 3-D without a batch": BadCall(lambda s, m: (zeros(s, SEQ, INPUT), state(s, m, 1, 1))),
    "state for more layers": BadCall(lambda s, m: (batch(s), state(s, m, 2, BATCH))),
    "state for fewer layers": BadCall(lambda s, m: (batch(s), state(s, m, 1, BATCH)), options=TWO),
    "state for one direction": BadCall(lambda s, m: (batch(s), state(s, m, LAYERS, BATCH)), options=TWO),
    "state for a larger batch": BadCall(lambda s, m: (batch(s), state(s, m, 1, BATCH + 1))),
    "state for one sequence": BadCall(lambda s, m: (batch(s), state(s, m, 1, 1))),
    "state batch first": BadCall(
        lambda s, m: (zeros(s, BATCH, SEQ, INPUT), state(s, m, BATCH, 1)), options={"batch_first": True}
    ),
    "state features": BadCall(lambda s, m: (batch(s), state(s, m, 1, BATCH, more=1))),
    "state features, unbatched": BadCall(lambda s, m: (zeros(s, SEQ, INPUT), state(s, m, 1, more=-1))),
    "state of another kind": BadCall(lambda s, m: (batch(s), another_kind_of_state(s)), NONE),
    "three states": BadCall(lambda s, m: (batch(s), (zeros(s, 1, BATCH, HIDDEN),) * 3), ("lstm",)),
    "one state in a tuple": BadCall(lambda s, m: (batch(s), (zeros(s, 1, BATCH, HIDDEN),)), NONE),
    # dtype and device.
    "input dtype": BadCall(lambda s, m: (batch(s, dtype=other_dtype(s)),)),
    "input of integers": BadCall(lambda s, m: (batch(s, dtype=torch.int64),)),
    "state dtype": BadCall(lambda s, m: (batch(s), state(s, m, 1, BATCH, dtype=other_dtype(s))), NONE),
    "input device": BadCall(lambda s, m: (batch(s, device=other_device(s)),)),
    "state device": BadCall(lambda s, m: (batch(s), state(s, m, 1, BATCH, device=other_device(s)))),
    # Packed sequences: torch.nn.LSTM makes no checks of its own here.
    "packed features": BadCall(lambda s, m: (packed(s, INPUT + 1),), ("rnn", "gru")),
    "packed dtype": BadCall(lambda s, m: (packed(s, dtype=other_dtype(s)),), ("rnn", "gru")),
    "packed device": BadCall(lambda s, m: (packed(s, device=other_device(s)),), NONE),
    "packed, state for more layers": BadCall(lambda s, m: (packed(s), state(s, m, 2, BATCH)), ("rnn", "gru")),
    "packed, state for fewer layers": BadCall(lambda s, m: (packed(s), state(s, m, 1, BATCH)), ("rnn", "gru"), TWO),
    "packed, state for a larger batch": BadCall(lambda s, m: (packed(s), state(s, m, 1, BATCH + 1)), ("rnn", "gru")),
    "packed, state features": BadCall(lambda s, m: (packed(s), state(s, m, 1, BATCH, more=1)), ("rnn", "gru")),
    "packed, state dtype": BadCall(lambda s, m: (packed(s), state(s, m, 1, BATCH, dtype=other_dtype(s))), NONE),
    "packed, state device": BadCall(lambda s, m: (packed(s), state(s, m, 1, BATCH, device=other_device(s))), NONE),
}


def another_kind_of_state(subject: Subject) -> Any:
    h = zeros(subject, 1, BATCH, HIDDEN)
    return h if subject.kind == "lstm" else (h, h)


@pytest.mark.parametrize("case", BAD_CALLS)
def test_refuses_a_call_as_the_built_in_does(subject: Subject, case: str) -> None:
    bad = BAD_CALLS[case]
    layer, builtin = (build(subject, factory, **bad.options) for factory in (subject.factory, subject.builtin))
    error, expected = (error_of(lambda m=m: m(*bad.arguments(subject, builtin))) for m in (layer, builtin))
    assert_same_error(error, expected, subject.kind in bad.same_message)


@pytest.mark.parametrize("spec", ["own", "all"])
@pytest.mark.parametrize("more", [-1, 1])
def test_refuses_a_state_that_forgets_the_projection(subject: Subject, spec: str, more: int) -> None:
    layer, builtin = build_both(subject, spec)

    def call(layer: nn.Module) -> Any:
        input, hx = good_input(subject, builtin, "batched")
        first, *rest = tensors(hx)
        wrong = torch.cat([first, first[..., :1]], dim=-1) if more > 0 else first[..., :-1]
        return layer(input, (wrong, *rest) if rest else wrong)

    assert_same_error(error_of(lambda: call(layer)), error_of(lambda: call(builtin)), same_message=True)


def test_a_refused_call_leaves_the_layer_usable(subject: Subject) -> None:
    layer = build(subject, subject.factory)
    expected = layer(batch(subject))[0]
    assert error_of(lambda: layer(zeros(subject, SEQ, BATCH, INPUT + 1))) is not None
    assert torch.equal(layer(batch(subject))[0], expected)


def error_of(call: Callable[[], Any]) -> Exception | None:
    """The exception that a call raises; None if it raises none."""
    try:
        call()
    except Exception as error:
        return error
    return None


def assert_same_error(error: Exception | None, expected: Exception | None, same_message: bool) -> None:
    assert type(error) is type(expected), f"built-in: {expected!r}; layer: {error!r}"
    if expected is not None:
        assert str(error), "an error without a message"
        assert not same_message or str(error) == str(expected)
