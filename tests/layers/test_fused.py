"""The layers that compute the whole sequence at once: against torch.nn, and where they must not differ from it."""

import itertools
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from rnn_parity import manual
from rnn_parity.manual import fused
from rnn_parity.manual.fused import layers
from rnn_parity.manual.fused.compiled import Compiled
from rnn_parity.manual.fused.operations import Operations, recurrence
from rnn_parity.tests.layers.rounding import assert_same_digits

KINDS = ["RNN", "GRU", "LSTM"]
SEQ, BATCH, INPUT, HIDDEN = 5, 3, 2, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True, params=["compiled", "sigmoid", "tanh"])
def _engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute by one engine alone: the compiled one, or PyTorch operations with one of their ways to tanh."""
    compiled = request.param == "compiled"
    for kind in KINDS:
        monkeypatch.setattr(getattr(layers, kind), "engines", (Compiled() if compiled else Operations(),))
    monkeypatch.setattr(recurrence, "BY_SIGMOID", sys.maxsize if request.param == "tanh" else 0)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(SEQ, BATCH, INPUT, dtype=torch.float64)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which way the layers of one direction went: "fused" or "step by step"."""
    found: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            found.append(name)
            return function(*args, **kwargs)

        return call

    for engine in (Compiled, Operations):
        monkeypatch.setattr(engine, "passes", noted("fused", engine.passes))
    monkeypatch.setattr(manual.layers, "Unrolled", noted("step by step", manual.layers.Unrolled))
    return found


def make(kind: str, **options: Any) -> nn.Module:
    return getattr(fused, kind)(INPUT, HIDDEN, dtype=torch.float64, **options)


def pair(kind: str, input_size: int = INPUT, hidden_size: int = HIDDEN, **options: Any) -> tuple[nn.Module, nn.Module]:
    """A fused layer and the built-in with the same weights."""
    layer = getattr(fused, kind)(input_size, hidden_size, dtype=torch.float64, **options)
    builtin = getattr(nn, kind)(input_size, hidden_size, dtype=torch.float64, **options)
    builtin.load_state_dict(layer.state_dict())
    return layer, builtin


def tensors_in(result: Any) -> list[Tensor]:
    """The tensors of output and state."""
    if isinstance(result, PackedSequence):
        return [result.data]
    return [result] if isinstance(result, Tensor) else [t for part in result for t in tensors_in(part)]


def state_for(layer: nn.Module, kind: str, batch: int | None) -> Any:
    sizes = (layer.num_layers * (2 if layer.bidirectional else 1), *([] if batch is None else [batch]), HIDDEN)
    state = tuple(torch.randn(sizes, dtype=torch.float64, requires_grad=True) for _ in range(2))
    return state if kind == "LSTM" else state[0]


def assert_equal_results(modules: tuple[nn.Module, nn.Module], input: Any, hx: Any, leaves: list[Tensor]) -> None:
    """Hold output, state and every gradient of a random loss against those of the built-in."""
    results, gradients = [], []
    for module in modules:
        results.append(tensors_in(module(input, hx)))
        torch.manual_seed(1)
        loss = sum((t * torch.randn(t.shape, dtype=t.dtype)).sum() for t in results[-1])
        wanted = [*leaves, *(p for p in module.parameters() if p.requires_grad)]
        gradients.append(torch.autograd.grad(loss, wanted, retain_graph=True))
    for ours, theirs in zip(results[0] + [*gradients[0]], results[1] + [*gradients[1]], strict=True):
        assert_same_digits(ours, theirs)


OPTIONS = [
    {},
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"bias": False, "bidirectional": True},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("layout", ["padded", "packed", "even", "unbatched"])
def test_equals_the_builtin(kind: str, options: dict[str, Any], layout: str, calls: list[str]) -> None:
    modules = pair(kind, **options)
    shape = (BATCH, SEQ, INPUT) if options.get("batch_first") else (SEQ, BATCH, INPUT)
    x = torch.randn(shape if layout != "unbatched" else (SEQ, INPUT), dtype=torch.float64, requires_grad=True)
    hx = state_for(modules[0], kind, BATCH if layout != "unbatched" else None)
    lengths = {"packed": [2, 5, 1], "even": [SEQ] * BATCH}.get(layout)
    first = bool(options.get("batch_first"))
    input: Any = pack_padded_sequence(x, lengths, first, enforce_sorted=False) if lengths else x
    assert_equal_results(modules, input, hx, [x, *tensors_in(hx)])
    assert set(calls) == {"fused"}


@pytest.mark.parametrize(("kind", "options"), [("RNN", {"nonlinearity": "relu"}), ("LSTM", {"proj_size": 2})])
def test_options_of_one_kind_equal_the_builtin(kind: str, options: dict[str, Any], x: Tensor) -> None:
    assert_equal_results(pair(kind, bidirectional=True, **options), x.requires_grad_(), None, [x])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("seq", "batch", "features", "hidden"), [(1, 1, 1, 1), (1, 3, 2, 5), (7, 1, 3, 1), (65, 2, 1, 3)]
)
def test_odd_sizes_equal_the_builtin(kind: str, seq: int, batch: int, features: int, hidden: int) -> None:
    x = torch.randn(seq, batch, features, dtype=torch.float64, requires_grad=True)
    assert_equal_results(pair(kind, features, hidden), x, None, [x])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("result", [0, 1])
def test_a_loss_on_one_result_alone(kind: str, result: int, x: Tensor) -> None:
    gradients = []
    for module in pair(kind, bidirectional=True):
        loss = sum(t.square().sum() for t in tensors_in(module(x)[result]))
        gradients.append(torch.autograd.grad(loss, list(module.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        assert_same_digits(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trained", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_one_parameter_alone_gets_its_gradient(kind: str, trained: str, x: Tensor) -> None:
    modules = pair(kind)
    for module in modules:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name == trained)
    assert_equal_results(modules, x, None, [])


def test_relu_has_no_slope_at_zero() -> None:
    layer = make("RNN", nonlinearity="relu", bias=False)
    x = torch.zeros(SEQ, BATCH, INPUT, dtype=torch.float64, requires_grad=True)
    layer(x)[0].sum().backward()
    assert x.grad is not None
    assert not x.grad.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("packed", [False, True])
def test_first_and_second_derivatives_of_everything(kind: str, packed: bool) -> None:
    layer = getattr(fused, kind)(2, 2, dtype=torch.float64)
    names, parameters = zip(*layer.named_parameters(), strict=True)
    states = torch.randn(2 if kind == "LSTM" else 1, 1, 2, 2, dtype=torch.float64, requires_grad=True)

    def results(x: Tensor, states: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        hx = tuple(states) if kind == "LSTM" else states[0]
        input: Any = pack_padded_sequence(x, [3, 1]) if packed else x
        return tuple(tensors_in(functional_call(layer, dict(zip(names, parameters, strict=True)), (input, hx))))

    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(results, (x, states, *parameters), check_batched_grad=not packed)
    assert torch.autograd.gradgradcheck(results, (x, states, *parameters))


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_where_the_input_depends_on_a_weight(kind: str, x: Tensor) -> None:
    found = []
    for module in pair(kind):
        weight = module.weight_hh_l0
        output, _ = module(x * weight.sum(), None)
        [first] = torch.autograd.grad(output.square().sum(), [weight], create_graph=True)
        found.append([first, *torch.autograd.grad(first.square().sum(), list(module.parameters()))])
    for ours, theirs in zip(*found, strict=True):
        assert_same_digits(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_results_overwritten_leave_the_gradients_right(kind: str, x: Tensor) -> None:
    layer = make(kind)
    gradients = []
    for overwrite in (False, True):
        results = tensors_in(layer(x))
        loss = sum(t.sum() for t in results)
        if overwrite:
            for t in results:
                t.detach().zero_()
        gradients.append(torch.autograd.grad(loss, list(layer.parameters())))
    for kept, overwritten in zip(*gradients, strict=True):
        assert torch.equal(kept, overwritten)


@pytest.mark.parametrize("kind", KINDS)
def test_results_doubled_in_place_are_results_doubled(kind: str, x: Tensor) -> None:
    layer = make(kind)
    in_place = [t.mul_(2) for t in tensors_in(layer(x))]
    out_of_place = [t * 2 for t in tensors_in(layer(x))]
    found = [
        torch.autograd.grad(sum(t.square().sum() for t in doubled), list(layer.parameters()))
        for doubled in (in_place, out_of_place)
    ]
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_results_without_gradients_may_be_changed_in_place_by_what_has_some(kind: str, x: Tensor) -> None:
    with torch.no_grad():
        results = tensors_in(make(kind)(x))
    factor = torch.ones((), dtype=x.dtype, requires_grad=True)
    expected = sum(t.sum() for t in results)
    assert_same_digits(torch.autograd.grad(sum(t.mul_(factor).sum() for t in results), factor)[0], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changed", ["input", "weight"])
def test_what_the_gradients_need_must_not_change_in_place(kind: str, changed: str, x: Tensor) -> None:
    layer = make(kind)
    output, _ = layer(x)
    with torch.no_grad():
        (x if changed == "input" else layer.weight_hh_l0).mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grad_mode", [True, False])
def test_no_two_results_share_memory(kind: str, grad_mode: bool) -> None:
    layer = make(kind)
    x = torch.randn(1, 1, INPUT, dtype=torch.float64, requires_grad=True)
    hx = state_for(layer, kind, 1)
    with torch.set_grad_enabled(grad_mode):
        results = tensors_in(layer(x, hx))
    given = [x, *tensors_in(hx), *layer.parameters()]
    found = [*results, *given]
    if grad_mode:
        found += torch.autograd.grad(sum(t.sum() for t in results), given)
    for one, other in itertools.combinations(found, 2):
        assert one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr()


@pytest.mark.parametrize("kind", KINDS)
def test_backward_twice_gives_the_same(kind: str, x: Tensor) -> None:
    layer = make(kind)
    loss = layer(x)[0].sum()
    parameters = list(layer.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    for one, other in zip(first, torch.autograd.grad(loss, parameters), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_add_up_over_calls(kind: str) -> None:
    modules = pair(kind)
    x = torch.randn(1, 1, INPUT, dtype=torch.float64)
    for module in modules:
        for _ in range(3):
            module(x)[0].sum().backward()
    for parameter, expected in zip(*(module.parameters() for module in modules), strict=True):
        assert_same_digits(parameter.grad, expected.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_saves_nothing_where_no_gradient_is_asked_for(kind: str, x: Tensor) -> None:
    layer = make(kind)
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        with torch.no_grad():
            layer(x)
        layer.requires_grad_(False)(x)
        assert not saved
        layer.requires_grad_(True)(x)
        assert saved


@pytest.mark.parametrize("kind", KINDS)
def test_inference_mode(kind: str, x: Tensor, calls: list[str]) -> None:
    layer = make(kind, bidirectional=True)
    with torch.inference_mode():
        inferred = layer(x)[0]
    assert_same_digits(inferred, layer(x)[0])
    assert set(calls) == {"fused"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_have_the_dtype_of_their_parameters(kind: str, dtype: torch.dtype, x: Tensor) -> None:
    layer = make(kind).to(dtype)
    layer(x.to(dtype))[0].sum().backward()
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_batch_gives_empty_results_and_zero_gradients(kind: str) -> None:
    layer, builtin = pair(kind)
    x = torch.zeros(SEQ, 0, INPUT, dtype=torch.float64)
    output, _ = layer(x)
    assert output.shape == builtin(x)[0].shape
    output.sum().backward()
    assert not any(p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_computes_shapes_on_the_meta_device(kind: str) -> None:
    layer = getattr(fused, kind)(INPUT, HIDDEN, device="meta")
    output, _ = layer(torch.empty(SEQ, BATCH, INPUT, device="meta"))
    output.sum().backward()
    assert output.shape == (SEQ, BATCH, HIDDEN)
    assert output.is_meta


class TestLeftToTheStepFunction:
    """What a recurrence over all steps cannot take is computed step by step, to the same result."""

    @pytest.fixture(params=KINDS)
    def kind(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # PyTorch's own decompositions
    def test_forward_mode_derivatives(self, kind: str, x: Tensor, calls: list[str]) -> None:
        layer, readable = make(kind), getattr(manual, kind)(INPUT, HIDDEN, dtype=torch.float64)
        readable.load_state_dict(layer.state_dict())
        direction = torch.randn_like(x)
        derivatives = [jvp(lambda x, m=m: m(x)[0], (x,), (direction,))[1] for m in (layer, readable)]
        assert_same_digits(*derivatives)
        assert set(calls) == {"step by step"}

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
    def test_a_dual_tensor(self, kind: str, x: Tensor, calls: list[str]) -> None:
        layer = make(kind)
        with torch.autograd.forward_ad.dual_level():
            output, _ = layer(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
            assert torch.autograd.forward_ad.unpack_dual(output).tangent is not None
        assert set(calls) == {"step by step"}

    def test_vmap_and_gradients_of_each_sample(self, kind: str, x: Tensor, calls: list[str]) -> None:
        layer = make(kind)
        weights = {name: p.detach() for name, p in layer.named_parameters()}

        def loss(weights: dict[str, Tensor], sample: Tensor) -> Tensor:
            return functional_call(layer, weights, (sample,))[0].sum()

        per_sample = vmap(grad(loss), in_dims=(None, 1))(weights, x)
        assert set(calls) == {"step by step"}
        layer(x)[0].sum().backward()
        for name, parameter in layer.named_parameters():
            assert_same_digits(per_sample[name].sum(0), parameter.grad)

    def test_autocast(self, kind: str, x: Tensor, calls: list[str]) -> None:
        layer = make(kind).float()
        with torch.autocast("cpu", torch.bfloat16):
            output, _ = layer(x.float())
        output.float().sum().backward()
        assert set(calls) == {"step by step"}

    def test_a_subclass_of_tensor(self, kind: str, x: Tensor, calls: list[str]) -> None:
        class Tagged(Tensor):
            pass

        output, _ = make(kind)(x.as_subclass(Tagged))
        assert isinstance(output, Tagged)
        assert set(calls) == {"step by step"}

    def test_a_weight_on_another_device(self, kind: str, x: Tensor, calls: list[str]) -> None:
        layer = make(kind)
        layer.weight_hh_l0 = nn.Parameter(layer.weight_hh_l0.to("meta"))
        layer(x)  # what PyTorch makes of it is its own
        assert set(calls) == {"step by step"}

    def test_another_step(self, kind: str, x: Tensor, calls: list[str]) -> None:
        class Constant(getattr(fused, kind)):  # type: ignore[misc]
            def _step(self, **weights: Tensor) -> Any:
                return lambda x_t, state: (x_t.new_ones(len(x_t), HIDDEN), state)

        assert torch.equal(Constant(INPUT, HIDDEN, dtype=torch.float64)(x)[0], x.new_ones(SEQ, BATCH, HIDDEN))

    def test_tracing(self, kind: str, x: Tensor, calls: list[str]) -> None:
        layer = make(kind)
        program = torch.export.export(layer, (x,), strict=False)
        assert_same_digits(program.module()(x)[0], layer(x)[0])
        assert calls == ["step by step", "fused"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_backward_pass_under_autocast_stays_in_its_dtype(kind: str, x: Tensor) -> None:
    layer = make(kind).float()
    losses = [layer(x.float())[0].sum() for _ in range(2)]
    parameters = list(layer.parameters())
    expected = torch.autograd.grad(losses[0], parameters)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(losses[1], parameters)
    for ours, plain in zip(found, expected, strict=True):
        assert torch.equal(ours, plain)


class TestCheckpointed:
    @pytest.mark.parametrize("module", [fused, manual, nn])
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("layout", ["padded", "batch_first", "packed", "unbatched"])
    def test_equals_the_layer(self, module: Any, kind: str, layout: str) -> None:
        first = layout == "batch_first"
        layer = getattr(module, kind)(INPUT, HIDDEN, num_layers=2, batch_first=first, dtype=torch.float64)
        x = torch.randn(*((7, INPUT) if layout == "unbatched" else (7, 7, INPUT)), dtype=torch.float64)
        x.requires_grad_()
        input: Any = pack_padded_sequence(x, [3, 7, 1, 5, 7, 2, 1], enforce_sorted=False) if layout == "packed" else x
        for hx in (None, state_for(layer, kind, None if layout == "unbatched" else 7)):
            leaves = [x, *([] if hx is None else tensors_in(hx))]
            assert_equal_results((fused.Checkpointed(layer), layer), input, hx, leaves)

    def test_holds_a_state_for_each_piece(self) -> None:
        layer = make("LSTM")

        def held(module: nn.Module, seq: int) -> int:
            sizes: dict[int, int] = {}
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t: (sizes.update({t.data_ptr(): t.numel()}), t)[1], lambda t: t
            ):
                module(torch.randn(seq, 1, INPUT, dtype=torch.float64))
            return sum(sizes.values())

        wrapped = fused.Checkpointed(layer)
        assert held(layer, 400) > 400 * HIDDEN * 4
        assert held(wrapped, 400) < 400 * HIDDEN

    def test_two_directions_are_refused(self) -> None:
        with pytest.raises(ValueError, match="one direction"):
            fused.Checkpointed(make("GRU", bidirectional=True))
