"""paddle.nn.GRU in float32 with saturated gates: the output is finite and right, the gradients are NaN."""

import numpy as np
import paddle
import torch

paddle.set_default_dtype("float32")
random = np.random.default_rng(0)
gru, true = paddle.nn.GRU(4, 8), torch.nn.GRU(4, 8, batch_first=True)
for name, parameter in true.named_parameters():
    values = random.normal(0, 4, parameter.shape).astype("f")
    parameter.data = torch.from_numpy(values)
    getattr(gru, name).set_value(values)
values = random.normal(0, 8, (1, 1, 4)).astype("f")
x, y = paddle.to_tensor(values, stop_gradient=False), torch.from_numpy(values).requires_grad_()
output = gru(x)[0]
assert np.allclose(output.numpy(), true(y)[0].detach(), atol=1e-5), "the output is wrong"
output.sum().backward()
true(y)[0].sum().backward()
assert np.allclose(x.grad.numpy(), y.grad, atol=1e-5), (
    f"gradient: {x.grad.numpy().ravel()}, not {y.grad.numpy().ravel()}"
)
