"""paddle.nn.LSTM, GRU and SimpleRNN in eval mode: the backward pass raises."""

import paddle

for kind in ("Linear", "SimpleRNN", "GRU", "LSTM"):  # Linear has a gradient in eval mode too
    layer = getattr(paddle.nn, kind)(3, 4)
    layer.eval()
    x = paddle.ones([2, 5, 3])
    x.stop_gradient = False
    out = layer(x)
    (out if kind == "Linear" else out[0]).sum().backward()
assert x.grad is not None, f"{kind}: no gradient"
