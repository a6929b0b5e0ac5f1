"""paddle.nn, two directions with lengths and a first state: gradients are not those of its own output."""

import numpy as np
import paddle

paddle.seed(0)
paddle.set_default_dtype("float64")
x, state = (paddle.to_tensor(np.random.default_rng(seed).normal(size=(2, 2, 1))) for seed in (0, 1))


def total(layer, value):
    """Sum of the output with a weight of that value."""
    weight = layer.weight_hh_l0_reverse
    weight.set_value(paddle.full_like(weight, value))
    return layer(x, (state, state) if layer.mode == "LSTM" else state, paddle.to_tensor([2, 1]))[0].sum()


wrong = []
for kind in ("SimpleRNN", "GRU", "LSTM"):
    layer = getattr(paddle.nn, kind)(1, 1, direction="bidirect")
    total(layer, 1.0).backward()
    found = layer.weight_hh_l0_reverse.grad.sum().item()
    true = (total(layer, 1 + 1e-6) - total(layer, 1 - 1e-6)).item() / 2e-6
    wrong += [] if np.isclose(found, true, rtol=1e-5) else [f"{kind}: {found:.6f}, not {true:.6f}"]
assert not wrong, "; ".join(wrong)
