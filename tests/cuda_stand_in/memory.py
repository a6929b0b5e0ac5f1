"""A device's tensor and the host's tensor of the same memory."""

import torch
from torch import Tensor

CPU = torch.device("cpu")


def on_host(tensor: Tensor) -> Tensor:
    """Return a tensor of the CPU in the memory of one of the device."""
    storage = tensor.untyped_storage()
    if storage.nbytes() == 0:
        return torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype)
    same = torch._C._construct_storage_from_data_pointer(storage.data_ptr(), CPU, storage.nbytes())
    host = torch.empty(0, dtype=tensor.dtype)
    return host.set_(same, tensor.storage_offset(), tensor.size(), tensor.stride())  # type: ignore[call-overload]


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """Return a new tensor of the device with the values, shape and strides of one of the CPU."""
    tensor = torch.empty_strided(values.size(), values.stride(), dtype=values.dtype, device=device)
    if values.numel():
        on_host(tensor).copy_(values)
    return tensor


def with_index(device: torch.device) -> torch.device:
    """Return a device of CUDA's with its index, the current one's where it has none."""
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def is_on_device(value: object) -> bool:
    """Whether a value is a tensor of the stand-in's."""
    return isinstance(value, Tensor) and value.is_cuda
