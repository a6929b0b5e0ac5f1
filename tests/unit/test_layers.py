"""The manual layers as modules: what their users do to a torch.nn layer beside calling it."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnn_parity import manual
from rnn_parity.tests.unit.rounding import assert_same_digits

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
@pytest.mark.parametrize("batch_sizes", [[1, 2], [2, 2], [2]], ids=["growing", "too many", "too few"])
def test_batch_sizes_that_do_not_fit_are_refused(kind: str, batch_sizes: list[int]) -> None:
    packed = PackedSequence(torch.zeros(3, INPUT, dtype=torch.float64), torch.tensor(batch_sizes))
    with pytest.raises(RuntimeError, match=r"batch_sizes .* got \[" + str(batch_sizes[0])):
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
    with pytest.raises(TypeError, match=f"{kind}.__init__.* unexpected keyword argument 'hidden'"):
        getattr(manual, kind)(INPUT, HIDDEN, hidden=3)


def test_a_single_tensor_is_no_state_of_an_lstm() -> None:
    with pytest.raises(TypeError, match="tuple of two Tensors"):
        make("LSTM")(torch.zeros(SEQ, 2, INPUT), torch.zeros(2, 1, 2, HIDDEN))


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
