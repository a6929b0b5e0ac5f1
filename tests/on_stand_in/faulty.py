"""Layers with a fault that only a CUDA device has, judged on the stand-in by `test_stand_in.py`."""

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence

from rnn_parity import manual
from rnn_parity.tests.cuda_stand_in.control import next_kernel_fails


class AssertingGRU(manual.GRU):
    """Right, but for a kernel that fails where the batch is larger than two: CUDA tells at the next wait, for good."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        if not isinstance(input, PackedSequence) and input.dim() == 3 and input.shape[not self.batch_first] > 2:
            next_kernel_fails()
        return super().forward(input, hx)


class ElsewhereGRU(manual.GRU):
    """Right, but that the final state is on the first device, wherever the input is."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return output, h_n.to(torch.device("cuda", 0))


class BiasedGRU(manual.GRU):
    """Adds a little to its output."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, h_n = super().forward(input, hx)
        return output._replace(data=output.data + 1e-3) if isinstance(output, PackedSequence) else output + 1e-3, h_n


class GreedyGRU(manual.GRU):
    """Allocates a GiB on the device, for nothing."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        torch.empty(2**30, dtype=torch.uint8, device="cuda")
        return super().forward(input, hx)
