"""The layers on a CUDA device: what they launch, and that none waits for it. Run by `test_stand_in.py`."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from rnn_parity import manual
from rnn_parity.manual import fused
from rnn_parity.tests.cuda_stand_in.control import Counts, counted

SEQ, BATCH, INPUT, HIDDEN = 24, 3, 4, 6
FEWER = 8  # steps, to tell what each step costs

# Kernels and products a step, forward and backward. They may shrink; a change that lets one grow says why.
BUDGET = {
    (fused, "RNN"): ((1, 1), (1, 1)),
    (fused, "GRU"): ((4, 1), (2, 1)),
    (fused, "LSTM"): ((8, 1), (4, 1)),
    (manual, "RNN"): ((2, 1), (3, 2)),
    (manual, "GRU"): ((10, 1), (16, 2)),
    (manual, "LSTM"): ((10, 1), (15, 2)),
}
LAYERS = pytest.mark.parametrize(("module", "kind"), BUDGET, ids=[f"{m.__name__[11:]}-{kind}" for m, kind in BUDGET])

VARIANTS: dict[str, dict[str, Any]] = {
    "padded": {},
    "two layers, both directions, dropout": {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    "packed": {"packed": True},
    "packed, both directions": {"packed": True, "bidirectional": True, "num_layers": 2},
    "bfloat16": {"dtype": torch.bfloat16},
    "autocast": {"autocast": True},
}


def passes(module: Any, kind: str, steps: int, packed: bool = False, autocast: bool = False, **options: Any) -> Any:
    """Return the forward pass of a new layer, and the backward pass of its results."""
    layer = getattr(module, kind)(INPUT, HIDDEN, device="cuda", **options)
    x: Any = torch.zeros(steps, BATCH, INPUT, device="cuda", dtype=options.get("dtype"))
    if packed:
        x = pack_padded_sequence(x, [steps - 1, steps, 1], enforce_sorted=False)

    def forward() -> list[Tensor]:
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            output, state = layer(x)
        return [output.data if packed else output, *(state if kind == "LSTM" else [state])]

    def backward(results: list[Tensor], cotangents: list[Tensor]) -> Any:
        return torch.autograd.grad(results, list(layer.parameters()), cotangents)

    return forward, backward


def costs(module: Any, kind: str, steps: int, **options: Any) -> tuple[Counts, Counts]:
    """Return what a forward and a backward pass ask of the device, once everything is set up."""
    forward, backward = passes(module, kind, steps, **options)
    backward(results := forward(), [torch.zeros_like(r) for r in results])
    of_forward, results = counted(forward)
    cotangents = [torch.zeros_like(r) for r in results]
    of_backward, _ = counted(lambda: backward(results, cotangents))
    return of_forward, of_backward


@LAYERS
def test_kernels_and_products_a_step(module: Any, kind: str) -> None:
    pairs = zip(costs(module, kind, SEQ), costs(module, kind, FEWER), strict=True)
    apart = [
        (more.kernels + more.on_device - few.kernels - few.on_device, more.products - few.products)
        for more, few in pairs
    ]
    a_step = tuple((kernels / (SEQ - FEWER), products / (SEQ - FEWER)) for kernels, products in apart)
    assert a_step == BUDGET[module, kind]


@LAYERS
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_layer_copies_from_the_host_or_waits(module: Any, kind: str, variant: str) -> None:
    for counts in costs(module, kind, FEWER, **VARIANTS[variant]):
        assert counts.kernels > 0
        assert (counts.to_device, counts.to_host, counts.waits) == (0, 0, 0)


@LAYERS
@pytest.mark.parametrize("variant", ["padded", "packed, both directions"])
def test_a_graph_can_be_captured(module: Any, kind: str, variant: str) -> None:
    forward, backward = passes(module, kind, FEWER, **VARIANTS[variant])
    cotangents = [torch.ones_like(r) for r in forward()]
    expected = backward(forward(), cotangents)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = backward(forward(), cotangents)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert counted(graph.replay)[0].graphs == 1
