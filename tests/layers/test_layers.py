"""The manual layers as modules: what their users do to a torch.nn layer beside calling it."""

import copy
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnn_parity import manual
from rnn_parity.tests.layers.errors import assert_same_class
from rnn_parity.tests.layers.rounding import assert_same_digits

KINDS = ["RNN", "GRU", "LSTM"]
SEQ, BATCH, INPUT, HIDDEN = 5, 3, 2, 4


def pair(kind: str, **options: Any) -> tuple[nn.Module, nn.Module]:
    """A manual layer and the built-in with the same weights."""
    layer = getattr(manual, kind)(INPUT, HIDDEN, **options)
    builtin = getattr(nn, kind)(INPUT, HIDDEN, **options)
    builtin.load_state_dict(layer.state_dict())
    return layer, builtin


def make(kind: str, **options: Any) -> nn.Module:
    return getattr(manual, kind)(INPUT, HIDDEN, dtype=torch.float64, **options)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_compute_the_same(kind: str, x: Tensor) -> None:
    layer = make(kind, num_layers=2, bidirectional=True)
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(saved, weights_only=False)]
    for twin in copies:
        assert torch.equal(twin(x)[0], layer(x)[0])
    nn.init.zeros_(copies[0].weight_ih_l0)
    assert not torch.equal(copies[0](x)[0], layer(x)[0]), "a copy shares its weights with the original"


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_leaves_nothing_behind(kind: str, x: Tensor) -> None:
    layer = make(kind, num_layers=2, dropout=0.5, bidirectional=True)
    before = set(vars(layer))
    layer(x)[0].sum().backward()
    first = layer.eval()(x)[0]
    layer(x * 100)
    assert torch.equal(layer(x)[0], first)
    assert set(vars(layer)) == before


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives(kind: str) -> None:
    layer = getattr(manual, kind)(2, 2, dtype=torch.float64)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    x = torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)

    def output(x: Tensor, *parameters: Tensor) -> Tensor:
        return functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(output, (x, *parameters))
    assert torch.autograd.gradgradcheck(output, (x, *parameters))


@pytest.mark.parametrize("kind", KINDS)
def test_vmap_over_an_ensemble_of_weights(kind: str, x: Tensor) -> None:
    layers = [make(kind) for _ in range(3)]
    stacked = {
        name: torch.stack([layer.get_parameter(name).detach() for layer in layers])
        for name, _ in layers[0].named_parameters()
    }
    outputs = vmap(lambda weights: functional_call(layers[0], weights, (x,))[0])(stacked)
    for output, layer in zip(outputs, layers, strict=True):
        assert_same_digits(output, layer(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_sample(kind: str, x: Tensor) -> None:
    layer = make(kind)
    weights = {name: parameter.detach() for name, parameter in layer.named_parameters()}

    def loss(weights: dict[str, Tensor], sample: Tensor) -> Tensor:
        return functional_call(layer, weights, (sample,))[0].sum()

    per_sample = vmap(grad(loss), in_dims=(None, 1))(weights, x)
    layer(x)[0].sum().backward()
    for name, parameter in layer.named_parameters():
        assert_same_digits(per_sample[name].sum(0), parameter.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_parameter_gets_no_gradient(kind: str, x: Tensor) -> None:
    layer = make(kind, num_layers=2)
    layer.weight_hh_l0.requires_grad_(False)
    layer(x)[0].sum().backward()
    assert {name for name, p in layer.named_parameters() if p.grad is None} == {"weight_hh_l0"}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_read_when_the_layer_is_called(kind: str, x: Tensor) -> None:
    layer = make(kind)
    nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    before = layer(x)[0]
    nn.init.zeros_(layer.parametrizations.weight_hh_l0.original0)  # the norm of each row
    assert not torch.equal(layer(x)[0], before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_moves_to_another_dtype_forward_and_backward(kind: str, dtype: torch.dtype, x: Tensor) -> None:
    layer = make(kind, bidirectional=True).to(dtype)
    output, _ = layer(x.to(dtype))
    output.sum().backward()
    assert output.dtype == dtype
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_computes_shapes_on_the_meta_device(kind: str) -> None:
    layer = getattr(manual, kind)(INPUT, HIDDEN, device="meta")
    output, _ = layer(torch.empty(SEQ, BATCH, INPUT, device="meta"))
    assert output.shape == (SEQ, BATCH, HIDDEN)
    assert output.is_meta


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_empty_batch_gives_an_empty_output(kind: str, batch_first: bool) -> None:
    layer, builtin = pair(kind, batch_first=batch_first)
    x = torch.zeros((0, SEQ, INPUT) if batch_first else (SEQ, 0, INPUT))
    assert layer(x)[0].shape == builtin(x)[0].shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_zeroes_the_elements_that_torch_zeroes(kind: str, packed: bool, bidirectional: bool) -> None:
    layer, builtin = pair(kind, num_layers=3, dropout=0.5, bidirectional=bidirectional, dtype=torch.float64)
    input: Any = torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64)
    if packed:
        input = pack_padded_sequence(input, [5, 3, 1])
    outputs = []
    for module in (layer, builtin):
        torch.manual_seed(1)
        outputs.append(module(input)[0].data)
    assert_same_digits(*outputs)
    torch.manual_seed(2)
    assert not torch.allclose(layer(input)[0].data, outputs[0])


@pytest.mark.parametrize("kind", KINDS)
def test_packed_output_is_described_as_the_input(kind: str, x: Tensor) -> None:
    packed = pack_padded_sequence(x, [1, 5, 2], enforce_sorted=False)
    output, _ = make(kind)(packed)
    assert isinstance(output, PackedSequence)
    for given, kept in zip(packed[1:], output[1:], strict=True):
        assert torch.equal(given, kept)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("batch_sizes", "message"),
    [
        ([1, 2], r"batch_sizes that never grow, got \[1, 2\]"),
        ([2, 2], r"packed data of shape \(4, 2\) .* got \(3, 2\)"),
        ([2], r"packed data of shape \(2, 2\) .* got \(3, 2\)"),
    ],
    ids=["growing", "too many", "too few"],
)
def test_batch_sizes_that_do_not_fit_are_refused(kind: str, batch_sizes: list[int], message: str) -> None:
    packed = PackedSequence(torch.zeros(3, INPUT, dtype=torch.float64), torch.tensor(batch_sizes))
    with pytest.raises(RuntimeError, match=message):
        make(kind)(packed)


@pytest.mark.parametrize("kind", KINDS)
def test_lists_its_weights_as_torch_does(kind: str) -> None:
    layer, builtin = pair(kind, num_layers=2, bidirectional=True)
    layer.flatten_parameters()
    assert [len(weights) for weights in layer.all_weights] == [len(w) for w in builtin.all_weights]
    for weights, expected in zip(layer.all_weights, builtin.all_weights, strict=True):
        for weight, expected_weight in zip(weights, expected, strict=True):
            assert torch.equal(weight, expected_weight)


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_an_unknown_option_is_refused_by_name(kind: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'hidden'"):
        getattr(manual, kind)(INPUT, HIDDEN, hidden=3)


BAD_OPTIONS = [
    ({"input_size": 0}, "input_size to be positive, got 0"),
    ({"hidden_size": 4.0}, "hidden_size to be an int, got 4.0"),
    ({"num_layers": -1}, "num_layers to be positive, got -1"),
    ({"num_layers": 1.5}, "float"),
    ({"bias": 1}, "bias to be a bool, got 1"),
    ({"batch_first": None}, "batch_first to be a bool, got None"),
    ({"dropout": 1.5}, r"dropout to be a number in \[0, 1\], got 1.5"),
    ({"dropout": True}, r"dropout to be a number in \[0, 1\], got True"),
    ({"dropout": "half"}, "half"),
    ({"proj_size": HIDDEN}, "proj_size.* got 4"),
    ({"proj_size": -1}, "proj_size.* got -1"),
    ({"nonlinearity": "cube"}, "nonlinearity.* 'cube'|'nonlinearity'"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS, ids=str)
def test_refuses_the_options_that_torch_refuses(kind: str, options: dict[str, Any], message: str) -> None:
    sizes = {"input_size": INPUT, "hidden_size": HIDDEN}
    assert_same_class(*(lambda m=m: getattr(m, kind)(**sizes | options) for m in (manual, nn)), message)


def zeros(*shape: int, **options: Any) -> Tensor:
    return torch.zeros(shape, **options)


def packed(features: int = INPUT, **options: Any) -> PackedSequence:
    return pack_padded_sequence(zeros(SEQ, BATCH, features, **options), [SEQ, 2, 1])


# Input and h_0 that torch.nn refuses, and what our message says was expected and what came.
BAD_CALLS: dict[str, tuple[Any, Any, str]] = {
    "1-D": (zeros(INPUT), None, "input of 3 dimensions, .* got 1"),
    "features": (zeros(SEQ, BATCH, INPUT + 1), None, r"input of shape \(5, 3, 2\) .* got \(5, 3, 3\)"),
    "no steps": (zeros(0, BATCH, INPUT), None, "one step, got none"),
    "dtype": (zeros(SEQ, BATCH, INPUT).double(), None, "input of .* torch.float32, got torch.float64"),
    "device": (zeros(SEQ, BATCH, INPUT, device="meta"), None, "input of .* on cpu, got .* on meta"),
    "state, rank": (zeros(SEQ, BATCH, INPUT), zeros(2, HIDDEN), r"h_0 of shape \(2, 3, 4\) .* got \(2, 4\)"),
    "state, unbatched": (zeros(SEQ, INPUT), zeros(2, 1, HIDDEN), r"h_0 of shape \(2, 4\) .* got \(2, 1, 4\)"),
    "state, layers": (zeros(SEQ, BATCH, INPUT), zeros(1, BATCH, HIDDEN), r"\(2, 3, 4\) .* got \(1, 3, 4\)"),
    "state, dtype": (zeros(SEQ, BATCH, INPUT), zeros(2, BATCH, HIDDEN).double(), "h_0 of .*32, got torch.float64"),
    "state, device": (zeros(SEQ, BATCH, INPUT), zeros(2, BATCH, HIDDEN, device="meta"), "h_0 of .* got .* on meta"),
    "packed, features": (packed(INPUT + 1), None, r"packed data of shape \(8, 2\) .* got \(8, 3\)"),
    "packed, dtype": (packed(dtype=torch.float64), None, "packed data of .* torch.float32, got torch.float64"),
    "packed, batch": (packed(), zeros(2, BATCH + 1, HIDDEN), r"h_0 of shape \(2, 3, 4\) .* got \(2, 4, 4\)"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", BAD_CALLS)
def test_refuses_the_calls_that_torch_refuses(kind: str, case: str) -> None:
    input, h_0, message = BAD_CALLS[case]
    hx = (h_0, h_0) if kind == "LSTM" and h_0 is not None else h_0
    assert_same_class(*(lambda m=m: m(input, hx) for m in pair(kind, num_layers=2)), message)


@pytest.mark.parametrize("input", [zeros(SEQ, BATCH, INPUT), packed()], ids=["padded", "packed"])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("count", [1, 3, "one tensor", "stacked"])
def test_no_state_of_an_lstm(input: Any, num_layers: int, count: Any) -> None:
    h_0 = zeros(num_layers, BATCH, HIDDEN)
    hx = {"one tensor": h_0, "stacked": torch.stack([h_0, h_0])}[count] if isinstance(count, str) else (h_0,) * count
    got = "one tensor" if isinstance(count, str) else f"{count} tensors"
    modules = pair("LSTM", num_layers=num_layers)
    assert_same_class(*(lambda m=m: m(input, hx) for m in modules), f"tuple of 2 tensors .* got {got}")


@pytest.mark.parametrize("kind", ["RNN", "GRU"])
def test_a_pair_is_no_state_of_another_layer(kind: str) -> None:
    hx = (zeros(1, BATCH, HIDDEN),) * 2
    assert_same_class(*(lambda m=m: m(zeros(SEQ, BATCH, INPUT), hx) for m in pair(kind)), "1 of Tensor, got tuple")


@pytest.mark.parametrize("kind", KINDS)
def test_warns_of_dropout_without_a_second_layer(kind: str) -> None:
    with pytest.warns(UserWarning, match="two layers or more, .* got dropout=0.5 and num_layers=1") as caught:
        make(kind, dropout=0.5)
    if not hasattr(manual.RNN.__init__, "__wrapped__"):  # --jaxtyping-packages puts calls of its own in between
        assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", KINDS)
def test_a_final_state_changed_in_place_leaves_the_gradients_right(kind: str, x: Tensor) -> None:
    layer = make(kind)
    gradients = []
    for overwrite in (False, True):
        output, state = layer(x)
        for t in (state if kind == "LSTM" else (state,)) if overwrite else ():
            t.zero_()
        gradients.append(torch.autograd.grad(output.sum(), list(layer.parameters())))
    for kept, overwritten in zip(*gradients, strict=True):
        assert torch.equal(kept, overwritten)


def test_a_step_of_the_rnn_passes_through_three_files() -> None:
    layer, x, found = make("RNN"), torch.zeros(1, 1, INPUT, dtype=torch.float64), []
    sys.setprofile(lambda frame, event, _: found.append(frame.f_code.co_filename) if event == "call" else None)
    layer(x)
    sys.setprofile(None)
    folder = Path(manual.__file__).parent
    names = [Path(name).name for name in found if Path(name).parent == folder]
    assert set(names) == {"layers.py", "unroll.py", "cells.py"}
    assert len(names) < 20


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_gradients_add_up_over_calls(kind: str) -> None:
    torch.manual_seed(0)
    layer, builtin = getattr(manual, kind)(2, 3, dtype=torch.float64), getattr(nn, kind)(2, 3, dtype=torch.float64)
    builtin.load_state_dict(layer.state_dict())
    # One sequence of one step: gradients that are views of one another would be counted twice here.
    x = torch.randn(1, 1, 2, dtype=torch.float64)
    for module in (layer, builtin):
        for _ in range(3):
            module(x)[0].sum().backward()
    for parameter, expected in zip(layer.parameters(), builtin.parameters(), strict=True):
        assert_same_digits(parameter.grad, expected.grad)
