"""The interface: a layer is built, stored, printed, called and refuses as the built-in of its kind.

Each point is a program in plain PyTorch that ends in assertions: to run it is to ask, and where it fails it is its own
reproducer. Errors are compared by class, for the words of PyTorch's differ from version to version; what the built-in
accepts in a call, the layer must accept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from ...reference.spec import KINDS
from ..core.candidate import Implementation

INPUT, HIDDEN, LAYERS, BATCH, SEQ, PROJECTED = 3, 4, 2, 2, 5, 2

# What a layer must support to be given an option at all.
FEATURE_OF = {
    "num_layers": "num_layers",
    "nonlinearity": "relu",
    "bias": "no_bias",
    "batch_first": "batch_first",
    "dropout": "dropout",
    "bidirectional": "bidirectional",
    "proj_size": "proj_size",
}


@dataclass(frozen=True)
class Point:
    """One point of the interface.

    Args:
        name: what must hold.
        body: the lines of the program for a kind, after those that name `Builtin`, `Candidate`, `options` and `place`.
        options: of the constructor, by kind.
        features: keys of `candidate.FEATURES` that it needs beside those of its options.
        of_call: whether it is about what a call gives or refuses, and not about the constructor: then it can be asked
            of an adapter too.
        kinds: of which it can be asked.
    """

    name: str
    body: Callable[[str], str]
    options: Callable[[str], Mapping[str, Any]] = lambda kind: {}
    features: tuple[str, ...] = ()
    of_call: bool = False
    kinds: tuple[str, ...] = KINDS

    def needs(self, kind: str) -> tuple[str, ...]:
        """Return the keys of `candidate.FEATURES` without which there is nothing to ask."""
        of_options = (FEATURE_OF[option] for option in self.options(kind) if option in FEATURE_OF)
        return tuple(dict.fromkeys((*of_options, *self.features)))

    def program(self, implementation: Implementation, dtype: torch.dtype, device: str) -> str:
        """Return the program that asks an implementation on a device in a dtype."""
        kind = implementation.kind
        body = (_built(implementation) if self.of_call else "") + self.body(kind)
        options = "".join(f", {name!r}: {_written(value)}" for name, value in self.options(kind).items())
        placed = {"dtype": torch.float32 if dtype == torch.float64 else torch.float64}
        moved = {"device": "meta" if torch.device(device).type == "cpu" else "cpu"}
        of_packing = [name for name in ("PackedSequence", "pack_padded_sequence") if name in body]
        lines = [
            *(["import warnings"] if "warnings." in body else []),
            "import torch",
            *([f"from torch.nn.utils.rnn import {', '.join(of_packing)}"] if of_packing else []),
            *_imported(implementation),
            "",
            f"Builtin = torch.nn.{kind.upper()}",
            f"place = {{'device': {device!r}, 'dtype': {dtype}}}",
            *([f"other_dtype = place | {placed}"] if "other_dtype" in body else []),
            *([f"other_device = place | {moved}"] if "other_device" in body else []),
            f"options = {{**place{options}}}",
            body,
        ]
        return "\n".join(lines)


def _written(value: Any) -> str:
    return "float('nan')" if value != value else repr(value)


def _imported(implementation: Implementation) -> list[str]:
    if implementation.location is None:
        return ["Candidate = ...  # the layer under judgement"]
    module, _, attribute = implementation.location.partition(":")
    first, *rest = attribute.split(".")
    return (
        [f"from {module} import {first}", f"Candidate = {attribute}"]
        if rest
        else [f"from {module} import {first} as Candidate"]
    )


def _built(implementation: Implementation) -> str:
    """Build both layers with the same weights, as `Implementation.build` does."""
    built = f"\nbuiltin = Builtin({INPUT}, {HIDDEN}, **options)\n"
    if implementation.from_builtin is not None:
        return f"{built}candidate = Candidate.from_builtin(builtin)\n"
    return (
        f"{built}candidate = Candidate({INPUT}, {HIDDEN}, **options)\ncandidate.load_state_dict(builtin.state_dict())\n"
    )


SAME = 'assert came == expected, f"expected {expected}, as of torch.nn, got {came}"\n'

BOTH_SEEDED = f"""
torch.manual_seed(0)
builtin = Builtin({INPUT}, {HIDDEN}, **options)
torch.manual_seed(0)
candidate = Candidate({INPUT}, {HIDDEN}, **options)
"""

PARAMETERS = f"""{BOTH_SEEDED}
expected, came = ([name for name, _ in layer.named_parameters()] for layer in (builtin, candidate))
{SAME}
for name, parameter in candidate.named_parameters():
    start = builtin.get_parameter(name)
    expected, came = ((tuple(p.shape), p.dtype, p.device) for p in (start, parameter))
    assert came == expected, f"expected {{name}} of {{expected}}, got {{came}}"
    most = (parameter - start).abs().max().item()
    assert most == 0, f"expected torch.nn's first values of {{name}} under the same seed, got some {{most:.3g}} away"
"""

STATE_DICT = f"""{BOTH_SEEDED}
for source, target in ((candidate, builtin), (builtin, candidate)):
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    target.load_state_dict(source.state_dict())
    expected, came = list(source.state_dict()), list(target.state_dict())
    {SAME}
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor), f"expected {{name}} as it was loaded, got other values"
"""

PRINTS = f"""{BOTH_SEEDED}
expected, came = builtin.extra_repr(), candidate.extra_repr()
{SAME}
expected, came = repr(builtin).replace(Builtin.__name__, type(candidate).__name__, 1), repr(candidate)
{SAME}"""

ATTRIBUTES = f"""{BOTH_SEEDED}
for name in names:
    assert hasattr(candidate, name), f"expected an attribute {{name}}, got none"
    expected, came = getattr(builtin, name), getattr(candidate, name)
    assert came == expected, f"expected {{name}} = {{expected!r}}, got {{came!r}}"
"""

POSITIONAL = f"""
builtin, candidate = Builtin(*arguments), Candidate(*arguments)
expected, came = builtin.extra_repr(), candidate.extra_repr()
{SAME}
expected, came = ([tuple(p.shape) for p in layer.parameters()] for layer in (builtin, candidate))
{SAME}"""

WARNS = f"""
def warned(layer):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        layer({INPUT}, {HIDDEN}, **options)
    return [warning.category.__name__ for warning in caught]

expected, came = warned(Builtin), warned(Candidate)
{SAME}"""

RETURNS = f"""
def form(value):
    if isinstance(value, PackedSequence):
        indices = (t if t is None else t.tolist() for t in value[1:])
        return ("PackedSequence", form(value.data), *indices)
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype, value.device
    return (type(value).__name__, *map(form, value)) if isinstance(value, tuple) else type(value).__name__

expected, came = form(builtin(*arguments)), form(candidate(*arguments))
{SAME}"""

REFUSES = """
def error_of(layer):
    try:
        layer(GIVEN)
    except Exception as error:
        return error

expected, came = map(error_of, (LAYERS))
assert type(came) is type(expected), f"expected {expected!r}, as of torch.nn, got {came!r}"
assert came is None or str(came), f"expected {came!r} to say what is wrong, got no message"
"""
REFUSES_OPTIONS = REFUSES.replace("GIVEN", "**options").replace("LAYERS", "Builtin, Candidate")
REFUSES_CALL = REFUSES.replace("GIVEN", "*arguments").replace("LAYERS", "builtin, candidate")

STAYS_USABLE = f"""x = torch.randn({SEQ}, {BATCH}, {INPUT}, **place)
expected = candidate(x)[0]
try:
    candidate(torch.zeros({SEQ}, {BATCH}, {INPUT + 1}, **place))
except Exception:
    pass
else:
    raise AssertionError("expected an error for {INPUT + 1} features, got none")
most = (candidate(x)[0] - expected).abs().max().item()
assert most == 0, f"expected the output from before the refused call, got one {{most:.3g}} away"
"""

# Options that every kind has; "own" stands for the one that only this kind has.
SPECS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "layers": {"num_layers": LAYERS},
    "no bias": {"bias": False},
    "batch first": {"batch_first": True},
    "bidirectional": {"bidirectional": True},
    "dropout": {"num_layers": LAYERS, "dropout": 0.5},
    "own option": {"own": True},
    "all options": {
        "own": True,
        "num_layers": LAYERS,
        "bias": False,
        "batch_first": True,
        "bidirectional": True,
        "dropout": 1.0,
    },
}
OWN: dict[str, dict[str, Any]] = {"rnn": {"nonlinearity": "relu"}, "gru": {}, "lstm": {"proj_size": PROJECTED}}
ATTRIBUTE_NAMES = ("input_size", "hidden_size", "proj_size", *(name for name in SPECS["all options"] if name != "own"))


def options_of(options: Mapping[str, Any]) -> Callable[[str], dict[str, Any]]:
    """Return the options of each kind, its own in place of "own"."""
    given = {name: value for name, value in options.items() if name != "own"}
    return lambda kind: {**given, **(OWN[kind] if "own" in options else {})}


def zeros(*shape: int, place: str = "place") -> str:
    """Write a tensor of zeros."""
    return f"torch.zeros({', '.join(map(str, shape))}, **{place})"


def packed(tensor: str, lengths: tuple[int, ...] = (SEQ, 1), more: str = "") -> str:
    """Write the packed sequence of a padded tensor."""
    return f"pack_padded_sequence({tensor}, {list(lengths)}{more})"


def h(*axes: int, first: int = 0, last: int = 0, place: str = "place") -> Callable[[str, int], str]:
    """Return what writes a state with these leading axes.

    Args:
        axes: before the features.
        first: features that h_0 has too many.
        last: features that c_0 has too many, for a kind without c_0 h_0.
        place: the name of the keyword arguments it is made with.
    """

    def written(kind: str, projected: int) -> str:
        if kind != "lstm":
            return zeros(*axes, HIDDEN + first + last, place=place)
        h_0 = zeros(*axes, (projected or HIDDEN) + first, place=place)
        return f"({h_0}, {zeros(*axes, HIDDEN + last, place=place)})"

    return written


class Call(NamedTuple):
    """A call: its input, its state, what the layer is built with, and what it needs beside."""

    input: str
    state: Callable[[str, int], str] | None = None
    options: Mapping[str, Any] = {}
    features: tuple[str, ...] = ()

    def arguments(self, kind: str) -> str:
        """Write the tuple of arguments."""
        projected = options_of(self.options)(kind).get("proj_size", 0)
        return f"({self.input}, {self.state(kind, projected)})" if self.state else f"({self.input},)"

    def needs(self) -> tuple[str, ...]:
        """Return the features that the call needs, its options aside."""
        packed = ("packed",) if "pack_padded" in self.input else ()
        return (*packed, *(("initial_state",) if self.state else ()), *self.features)


def good_calls(options: Mapping[str, Any]) -> Iterator[tuple[str, Call]]:
    """Yield calls that layers with these options accept, by what they are."""
    rows = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
    first = options.get("batch_first", False)
    x = zeros(*((BATCH, SEQ) if first else (SEQ, BATCH)), INPUT)
    layout = ", batch_first=True" if first else ""
    inputs = {
        "batched": (x, h(rows, BATCH), ()),
        "unbatched": (zeros(SEQ, INPUT), h(rows), ("unbatched",)),
        "packed": (packed(x, (SEQ, 1), layout), h(rows, BATCH), ()),
        "packed unsorted": (packed(x, (1, SEQ), f"{layout}, enforce_sorted=False"), h(rows, BATCH), ()),
    }
    for name, (sequence, state, features) in inputs.items():
        yield f"{name} with a state", Call(sequence, state, options, features)
        yield name, Call(sequence, None, options, features)


BAD_OPTIONS: dict[str, dict[str, Any]] = {
    "no input": {"input_size": 0},
    "negative input": {"input_size": -1},
    "fractional input": {"input_size": 3.0},
    "input is text": {"input_size": "3"},
    "no hidden": {"hidden_size": 0},
    "negative hidden": {"hidden_size": -1},
    "fractional hidden": {"hidden_size": 4.0},
    "no layers": {"num_layers": 0},
    "negative layers": {"num_layers": -1},
    "fractional layers": {"num_layers": 1.5},
    "bias is no bool": {"bias": 1},
    "batch_first is no bool": {"batch_first": None},
    "dropout above 1": {"dropout": 1.5},
    "dropout below 0": {"dropout": -0.1},
    "dropout is not a number": {"dropout": float("nan")},
    "dropout is a bool": {"dropout": True},
    "dropout is text": {"dropout": "half"},
    "dropout is None": {"dropout": None},
    # RNN and GRU have no projection, and say so; GRU and LSTM know no nonlinearity.
    "projection as large as hidden": {"proj_size": HIDDEN},
    "projection larger than hidden": {"proj_size": HIDDEN + 1},
    "negative projection": {"proj_size": -1},
    "unknown nonlinearity": {"nonlinearity": "cube"},
    "unknown option": {"colour": "red"},
    "integer dtype": {"dtype": torch.int64},
    "unknown device": {"device": "nowhere"},
}

X = zeros(SEQ, BATCH, INPUT)
PACKED = packed(X)
FIRST, TWO = {"batch_first": True}, {"num_layers": LAYERS, "bidirectional": True}
ONE, ALL = (SPECS[name] for name in ("own option", "all options"))


def other_kind(kind: str, projected: int) -> str:
    """Write the state of another kind: a pair for RNN and GRU, one tensor for LSTM."""
    return h(1, BATCH)("gru" if kind == "lstm" else "lstm", projected)


BAD_CALLS: dict[str, Call] = {
    # Rank, features and length of the input.
    "1-D input": Call(zeros(INPUT)),
    "4-D input": Call(zeros(1, SEQ, BATCH, INPUT)),
    "features": Call(zeros(SEQ, BATCH, INPUT + 1)),
    "features, unbatched": Call(zeros(SEQ, INPUT - 1), features=("unbatched",)),
    "features, batch first": Call(zeros(BATCH, SEQ, INPUT + 1), options=FIRST),
    "no steps": Call(zeros(0, BATCH, INPUT)),
    "no steps, unbatched": Call(zeros(0, INPUT), features=("unbatched",)),
    "no steps, batch first": Call(zeros(BATCH, 0, INPUT), options=FIRST),
    # Rank, sizes and number of the state.
    "state 2-D for a batch": Call(X, h(BATCH)),
    "state 4-D for a batch": Call(X, h(1, 1, BATCH)),
    "state 3-D without a batch": Call(zeros(SEQ, INPUT), h(1, 1), features=("unbatched",)),
    "state for more layers": Call(X, h(2, BATCH)),
    "state for fewer layers": Call(X, h(1, BATCH), TWO),
    "state for one direction": Call(X, h(LAYERS, BATCH), TWO),
    "state for a larger batch": Call(X, h(1, BATCH + 1)),
    "state for one sequence": Call(X, h(1, 1)),
    "state batch first": Call(zeros(BATCH, SEQ, INPUT), h(BATCH, 1), FIRST),
    "state features": Call(X, h(1, BATCH, last=1)),
    "state features, unbatched": Call(zeros(SEQ, INPUT), h(1, last=-1), features=("unbatched",)),
    "more features than the projection": Call(X, h(1, BATCH, first=1), ONE),
    "fewer features than the projection": Call(X, h(1, BATCH, first=-1), ONE),
    "more features than the projection, all options": Call(zeros(BATCH, SEQ, INPUT), h(4, BATCH, first=1), ALL),
    "fewer features than the projection, all options": Call(zeros(BATCH, SEQ, INPUT), h(4, BATCH, first=-1), ALL),
    "state of another kind": Call(X, other_kind),
    "three states": Call(X, lambda kind, projected: f"({zeros(1, BATCH, HIDDEN)},) * 3"),
    "one state in a tuple": Call(X, lambda kind, projected: f"({zeros(1, BATCH, HIDDEN)},)"),
    # dtype and device.
    "input dtype": Call(zeros(SEQ, BATCH, INPUT, place="other_dtype")),
    "input of integers": Call(f"{X}.long()"),
    "state dtype": Call(X, h(1, BATCH, place="other_dtype")),
    "input device": Call(zeros(SEQ, BATCH, INPUT, place="other_device")),
    "state device": Call(X, h(1, BATCH, place="other_device")),
    # Packed sequences.
    "packed features": Call(packed(zeros(SEQ, BATCH, INPUT + 1))),
    "packed dtype": Call(packed(zeros(SEQ, BATCH, INPUT, place="other_dtype"))),
    "packed device": Call(packed(zeros(SEQ, BATCH, INPUT, place="other_device"))),
    "packed, state for more layers": Call(PACKED, h(2, BATCH)),
    "packed, state for fewer layers": Call(PACKED, h(1, BATCH), TWO),
    "packed, state for a larger batch": Call(PACKED, h(1, BATCH + 1)),
    "packed, state features": Call(PACKED, h(1, BATCH, last=1)),
    "packed, state dtype": Call(PACKED, h(1, BATCH, place="other_dtype")),
    "packed, state device": Call(PACKED, h(1, BATCH, place="other_device")),
}


def _kinds(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the kinds for which these options are others than the defaults: a GRU has no option of its own."""
    return tuple(kind for kind in KINDS if OWN[kind] or options != ONE)


def _of_constructor() -> Iterator[Point]:
    names = {
        "starts with the parameters of torch.nn": lambda kind: PARAMETERS,
        "exchanges its state_dict with torch.nn": lambda kind: STATE_DICT,
        "prints as torch.nn does": lambda kind: PRINTS,
        "keeps its options as attributes": lambda kind: f"names = {[*ATTRIBUTE_NAMES, *OWN[kind]]}\n{ATTRIBUTES}",
    }
    for name, body in names.items():
        for spec, options in SPECS.items():
            yield Point(f"{name}, {spec}", body, options_of(options), kinds=_kinds(options))
    yield Point("takes positional arguments in the order of torch.nn", _positional, options_of(ALL))
    for spec, options in {"one layer": {"dropout": 0.5}, "two layers": SPECS["dropout"], "none": {}}.items():
        yield Point(f"warns of dropout as torch.nn does, {spec}", lambda kind: WARNS, options_of(options))
    sizes = {"input_size": INPUT, "hidden_size": HIDDEN}
    for bad, options in BAD_OPTIONS.items():
        yield Point(f"refuses to be built, {bad}", lambda kind: REFUSES_OPTIONS, options_of(sizes | options))


def _positional(kind: str) -> str:
    nonlinearity, projection = {"rnn": ("relu",)}.get(kind, ()), {"lstm": (PROJECTED,)}.get(kind, ())
    arguments = (INPUT, HIDDEN, LAYERS, *nonlinearity, False, True, 0.25, True, *projection)
    return f"arguments = {arguments}\n{POSITIONAL}"


def _of_call() -> Iterator[Point]:
    def point(name: str, call: Call, body: str) -> Point:
        return Point(
            name,
            lambda kind: f"arguments = {call.arguments(kind)}\n{body}",
            options_of(call.options),
            call.needs(),
            True,
            _kinds(call.options),
        )

    for spec, options in SPECS.items():
        for layout, call in good_calls(options):
            yield point(f"returns types and shapes of torch.nn, {spec}, {layout}", call, RETURNS)
    for bad, call in BAD_CALLS.items():
        yield point(f"refuses a call, {bad}", call, REFUSES_CALL)
    yield Point("stays usable after a refused call", lambda kind: STAYS_USABLE, of_call=True)


POINTS = (*_of_constructor(), *_of_call())
