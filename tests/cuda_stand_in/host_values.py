"""The values of every operator, computed on the CPU in the device's own memory.

An operator runs twice: on the device, where PyTorch checks its arguments, allocates its results, takes its random
numbers and launches kernels that do nothing; then on tensors of the CPU in the same memory, for the values.
"""

from __future__ import annotations

import atexit
import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from .cudnn import OPERATORS as CUDNN
from .memory import CPU, is_on_device, on_device, on_host, with_index

# Whose memory is all that counts, or that copy it from and to the host, which the runtime does.
WITHOUT_VALUES = {
    *("aten::empty", "aten::empty_like", "aten::empty_strided", "aten::new_empty", "aten::new_empty_strided"),
    *("aten::set_", "aten::resize_", "aten::record_stream", "aten::_pin_memory", "aten::is_pinned"),
    *("aten::lift_fresh", "aten::_local_scalar_dense"),
}

# Whose part on the device reads what kernels have written: the shape of the result depends on it.
HOST_ALONE = {
    *("aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::repeat_interleave"),
    *("aten::bincount", "aten::multinomial", "aten::randperm"),
}

# What takes numbers of the device's generator.
RANDOM = {
    *("aten::bernoulli_", "aten::bernoulli", "aten::native_dropout", "aten::uniform_", "aten::normal_"),
    *("aten::random_", "aten::exponential_", "aten::normal", "aten::rand", "aten::rand_like", "aten::randn"),
    *("aten::randn_like", "aten::randint", "aten::randint_like", "aten::multinomial", "aten::randperm"),
}


class HostValues(TorchDispatchMode):
    """What is entered when PyTorch has been imported, and never left."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator on the device, and have its values computed."""
        kwargs = kwargs or {}
        device = device_of(args, kwargs)
        name = func._schema.name
        if device is None or name in WITHOUT_VALUES or is_view(func):
            return func(*args, **kwargs)
        if is_composite(func):  # which in inference mode nobody has taken apart yet
            with self:
                return func.decompose(*args, **kwargs)
        if name in CUDNN:
            return CUDNN[name](*args, **kwargs)
        if name == "aten::equal":  # a wait, and True or False
            ctypes.CDLL(None).cudaStreamSynchronize(None)
            return values_of(func, args, kwargs)
        with random_numbers(device, args, kwargs) if name in RANDOM else as_it_is() as compute:
            if name in HOST_ALONE and kwargs.get("output_size") is None:
                values = compute(lambda: values_of(func, args, kwargs))
                return tree_map(lambda v: on_device(v, device) if isinstance(v, Tensor) else v, values)
            results = func(*args, **kwargs)
            values = compute(lambda: values_of(func, args, kwargs))
        if not in_place(func):
            fill(results, values)
        return results


def device_of(args: Sequence[Any], kwargs: dict[str, Any]) -> torch.device | None:
    """Return the device that an operator works on, None where it is not the stand-in's."""
    flat, _ = tree_flatten((args, kwargs))
    tensors = [value for value in flat if is_on_device(value)]
    if any(type(tensor) not in (Tensor, torch.nn.Parameter) for tensor in tensors):
        return None  # of a subclass, such as FakeTensor, which has no memory
    asked = kwargs.get("device")
    if tensors or (asked is not None and torch.device(asked).type == "cuda"):
        return tensors[0].device if tensors else with_index(torch.device(asked))
    return None


@cache
def is_composite(func: Any) -> bool:
    """Whether an operator is made of others."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key))


@cache
def is_view(func: Any) -> bool:
    """Whether an operator gives views of its arguments and writes nothing."""
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


@cache
def in_place(func: Any) -> bool:
    """Whether an operator's results are arguments that it writes to: the values are there by then."""
    return all(r.alias_info is not None for r in func._schema.returns)


def values_of(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an operator on the CPU in the memory of its arguments."""

    def here(value: Any) -> Any:
        if is_on_device(value):
            return on_host(value)
        if isinstance(value, torch.Generator):
            return None  # whose numbers are those of the CPU's for now
        return CPU if isinstance(value, torch.device) else value

    flat, spec = tree_flatten((args, {**kwargs, "pin_memory": False} if kwargs.get("pin_memory") else kwargs))
    args, kwargs = tree_unflatten([here(value) for value in flat], spec)
    return func(*args, **kwargs)


def fill(results: Any, values: Any) -> None:
    """Put values where an operator's results are."""
    for result, value in zip(tree_flatten(results)[0], tree_flatten(values)[0], strict=True):
        if isinstance(result, Tensor) and result.numel():
            (on_host(result) if result.is_cuda else result).copy_(value)


Compute = Callable[[Callable[[], Any]], Any]


@contextmanager
def as_it_is() -> Iterator[Compute]:
    yield lambda compute: compute()


@contextmanager
def random_numbers(device: torch.device, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Compute]:
    """Have random numbers of the CPU's generator depend on the device's: on its seed, and on how far it has gone.

    What is drawn is not what a GPU draws; that the same seed gives the same, and another call something else, is.
    """
    given = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Generator)]
    generator = given[0] if given else torch.cuda.default_generators[device.index]
    seed = hash((generator.initial_seed(), generator.get_offset()))

    def compute(values: Callable[[], Any]) -> Any:
        if generator.get_offset() == begun:  # the part on the device was left out
            generator.set_offset(begun + 4)
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(seed % 2**63)
        try:
            return values()
        finally:
            torch.set_rng_state(state)

    begun = generator.get_offset()
    yield compute


AT_EXIT = 0.2  # seconds

_entered: list[HostValues] = []


def enter() -> None:
    """Compute values from now on in this thread, in autograd's, and in processes forked from it."""
    if not _entered:
        _entered.append(HostValues())
        _entered[0].__enter__()
        # Autograd's threads let go of the mode after a backward pass, and would end a process that has no Python left.
        atexit.register(time.sleep, AT_EXIT)
