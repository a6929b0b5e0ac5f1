"""cuDNN's layers, as far as their callers can tell: what they give, what they refuse, and how their dropout draws.

The values are those of PyTorch's layers on the CPU, in float32 for half precision. As cuDNN does, they refuse a
backward pass outside training mode, and take dropout from a state that PyTorch makes once for each device, which no
later seed resets. That they have no second derivative is PyTorch's own doing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .memory import on_device, on_host, with_index

FUNCTIONS: tuple[Any, ...] = (torch.rnn_relu, torch.rnn_tanh, torch.lstm, torch.gru)  # by cuDNN's numbers of the modes
GATES = (1, 1, 4, 3)
LSTM = 2

SCATTERED = (
    "RNN module weights are not part of single contiguous chunk of memory. This means they need to be compacted at "
    "every call, possibly greatly increasing memory usage. To compact weights again call flatten_parameters()."
)


class Options(NamedTuple):
    """The arguments of cuDNN's operators behind the tensors, in their order."""

    mode: int
    hidden_size: int
    proj_size: int
    num_layers: int
    batch_first: bool
    dropout: float
    train: bool
    bidirectional: bool
    batch_sizes: Sequence[int]

    @property
    def directions(self) -> int:
        """How many there are in each layer."""
        return 2 if self.bidirectional else 1

    @property
    def transposed(self) -> bool:
        """Whether the batch comes before the steps."""
        return self.batch_first and not self.batch_sizes

    def time_major(self, sequence: Tensor) -> Tensor:
        """Swap batch and steps, either way."""
        return sequence.transpose(0, 1) if self.transposed else sequence


def forward(
    input: Tensor,
    weights: Sequence[Tensor],
    stride: int,
    buffer: Tensor | None,
    h_0: Tensor,
    c_0: Tensor | None,
    *rest: Any,
) -> tuple[Tensor, ...]:
    """`aten::_cudnn_rnn`: output, h_n, c_n, what the backward pass needs of dropout, and the weights in one piece."""
    options, state = Options(*rest[:-1]), rest[-1]
    require_alike(input, weights, h_0, c_0, options)
    if buffer is None:
        warnings.warn(SCATTERED, stacklevel=2)
    x = options.time_major(wide(input))
    masks = drawn_masks(state, options, x) if options.train and options.dropout > 0 and options.num_layers > 1 else None
    states = [wide(s) for s in (h_0, c_0) if s is not None]
    results = without_guards(lambda: layers(x, [wide(w) for w in weights], stride, states, options, masks))
    output, *final = (tensor.detach() for tensor in results)
    nothing = input.new_empty(0)
    found = [on_device(s.contiguous().to(input.dtype), input.device) for s in (options.time_major(output), *final)]
    reserve = nothing if masks is None else on_device(masks, input.device)
    return (*found, *[nothing] * (3 - len(found)), reserve.view(torch.uint8), nothing if buffer is None else buffer)


def backward(
    input: Tensor,
    weights: Sequence[Tensor],
    stride: int,
    buffer: Tensor,
    h_0: Tensor,
    c_0: Tensor | None,
    output: Tensor,
    d_output: Tensor | None,
    d_h_n: Tensor | None,
    d_c_n: Tensor | None,
    *rest: Any,
) -> tuple[Any, ...]:
    """`aten::_cudnn_rnn_backward`: the gradients of input, h_0, c_0 and the weights."""
    options, reserve = Options(*rest[:-3]), rest[-2]
    if not options.train:
        raise RuntimeError("cudnn RNN backward can only be called in training mode")
    given = [input, h_0, *([c_0] if options.mode == LSTM and c_0 is not None else []), *weights]
    states, masks = len(given) - len(weights) - 1, saved_masks(reserve, options, input)

    def gradients() -> tuple[Tensor | None, ...]:
        x, *leaves = (wide(tensor).requires_grad_() for tensor in given)
        found = layers(options.time_major(x), leaves[states:], stride, leaves[:states], options, masks)
        results = zip((options.time_major(found[0]), *found[1:]), (d_output, d_h_n, d_c_n), strict=False)
        pairs = [(result, wide(d).to(result.dtype)) for result, d in results if d is not None]
        return torch.autograd.grad([r for r, _ in pairs], [x, *leaves], [d for _, d in pairs], allow_unused=True)

    found = [
        on_device((torch.zeros(like.shape) if gradient is None else gradient).contiguous().to(like.dtype), input.device)
        for gradient, like in zip(without_guards(gradients), given, strict=True)
    ]
    d_x, *d_states = found[: 1 + states]
    return d_x, *d_states, *[input.new_empty(0)] * (2 - states), found[1 + states :]


def saved_masks(reserve: Tensor, options: Options, input: Tensor) -> Tensor | None:
    """Return the factors that the forward pass has left, None where it dropped nothing."""
    if not (options.dropout > 0 and options.num_layers > 1):
        return None
    steps_and_batch = options.time_major(input).shape[:-1]
    return on_host(reserve).view(torch.float64).view(options.num_layers - 1, *steps_and_batch, -1)


def layers(
    x: Tensor, weights: list[Tensor], stride: int, states: list[Tensor], options: Options, masks: Tensor | None
) -> list[Tensor]:
    """Return output and final states, layer by layer with the given masks in between."""
    function, D = FUNCTIONS[options.mode], options.directions
    has_biases = stride - (options.proj_size > 0) == 4
    weights = [shaped(w, k % stride, has_biases, options) for k, w in enumerate(weights)]
    lengths = torch.tensor(options.batch_sizes) if options.batch_sizes else None
    finals = []
    for k in range(options.num_layers):
        own = weights[k * D * stride : (k + 1) * D * stride]
        state: Any = [s[k * D : (k + 1) * D] for s in states]
        state = state if options.mode == LSTM else state[0]
        if k > 0 and masks is not None:
            x = x * masks[k - 1].to(x.dtype)
        if lengths is None:
            x, *final = function(x, state, own, has_biases, 1, 0.0, True, options.bidirectional, False)
        else:
            x, *final = function(x, lengths, state, own, has_biases, 1, 0.0, True, options.bidirectional)
        finals.append(final)
    return [x, *(torch.cat(of_each) for of_each in zip(*finals, strict=True))]


def shaped(weight: Tensor, place: int, has_biases: bool, options: Options) -> Tensor:
    """Return a weight in its own shape: under autocast it comes as a column, as cuDNN looks at none."""
    if has_biases and place in (2, 3):
        return weight.flatten()
    rows = options.proj_size if place in (2, 4) else GATES[options.mode] * options.hidden_size
    return weight.view(rows, -1)


def drawn_masks(state: Tensor, options: Options, x: Tensor) -> Tensor:
    """Return dropout's factors on the output of every layer but the last, and have the state go on."""
    words = on_host(state).view(torch.int64)
    generator = torch.Generator().manual_seed(hash(tuple(words.tolist())) % 2**63)
    words[1] += 1
    shape = (options.num_layers - 1, *x.shape[:-1], options.directions * (options.proj_size or options.hidden_size))
    kept = torch.rand(shape, generator=generator, dtype=torch.float64) >= options.dropout
    return kept.double() / (1 - options.dropout) if options.dropout < 1 else kept.double()


def dropout_state(dropout: float, train: bool, seed: int, **options: Any) -> Tensor:
    """`aten::_cudnn_init_dropout_state`: the seed, and how often it was drawn from."""
    return on_device(torch.tensor([seed, 0]), with_index(torch.device(options["device"]))).view(torch.uint8)


def flatten_weights(
    weights: Sequence[Tensor], stride: int, input_size: int, mode: int, hidden_size: int, proj_size: int, *rest: Any
) -> Tensor:
    """`aten::_cudnn_rnn_flatten_weight`: have all weights lie in one piece of memory, which has room for biases."""
    room = 0 if stride - (proj_size > 0) == 4 else 2 * GATES[mode] * hidden_size
    sizes = [weight.numel() + room * (k % stride == 1) for k, weight in enumerate(weights)]
    whole = weights[0].new_empty(sum(sizes))
    for weight, piece in zip(weights, whole.split(sizes), strict=True):
        part = piece[: weight.numel()].view(weight.shape)
        on_host(part).copy_(on_host(weight))
        weight.set_(whole.untyped_storage(), part.storage_offset(), weight.shape, part.stride())  # type: ignore[call-overload]
    return whole


def require_alike(input: Tensor, weights: Sequence[Tensor], h_0: Tensor, c_0: Tensor | None, options: Options) -> None:
    """Refuse what cuDNN's operator refuses.

    Raises:
        RuntimeError: a tensor is on another device, or of another dtype or shape than expected.
    """
    batch = options.batch_sizes[0] if options.batch_sizes else input.shape[0 if options.batch_first else 1]
    sizes = {"hidden": options.proj_size or options.hidden_size, "cell": options.hidden_size}
    for role, tensor in (*zip(sizes, (h_0, c_0), strict=True), *(("parameter", weight) for weight in weights)):
        if tensor is None:
            continue
        if tensor.device != input.device:
            raise RuntimeError(
                f"Input and {role} tensors are not at the same device, {input.device} and {tensor.device}"
            )
        if tensor.dtype != input.dtype:
            raise RuntimeError(f"Input and {role} tensors are not the same dtype, {input.dtype} and {tensor.dtype}")
        expected = (options.num_layers * options.directions, batch, sizes.get(role))
        if role in sizes and tuple(tensor.shape) != expected:
            raise RuntimeError(f"Expected {role} size {expected}, got {tuple(tensor.shape)}")


def wide(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU that half precision does not round on the way."""
    return on_host(tensor).detach().to(torch.float64 if tensor.dtype == torch.float64 else torch.float32, copy=True)


_threads: dict[int, ThreadPoolExecutor] = {}


def without_guards(function: Callable[[], Any]) -> Any:
    """Call a function where autograd works, which it does not below the dispatcher: in another thread."""
    pool = _threads.setdefault(os.getpid(), ThreadPoolExecutor(1))  # threads are not forked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers on the CPU
        return pool.submit(function).result()


OPERATORS: dict[str, Callable[..., Any]] = {
    "aten::_cudnn_rnn": forward,
    "aten::_cudnn_rnn_backward": backward,
    "aten::_cudnn_rnn_flatten_weight": flatten_weights,
    "aten::_cudnn_init_dropout_state": dropout_state,
}
