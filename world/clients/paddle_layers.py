"""paddle.nn: SimpleRNN, GRU and LSTM, with torch.nn's names and shapes; gradients by Paddle's own autograd."""

from typing import Any

import paddle

from rnn_parity.judge.adapters import layer

paddle.set_device("cpu")
LACKING = ("proj_size", "dropout", "no_bias")  # without a bias the process ends


def on_paddle(kind: str, name: str) -> Any:
    def called(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any) -> Any:
        spec = weights.spec
        paddle.set_default_dtype(x.dtype.name)
        options = {} if spec.bias else {"bias_ih_attr": False, "bias_hh_attr": False}
        options |= {"activation": spec.nonlinearity} if kind == "rnn" else {}
        module = getattr(paddle.nn, name)(
            spec.input_size,
            spec.hidden_size,
            spec.num_layers,
            "bidirect" if spec.bidirectional else "forward",
            time_major=True,
            # In training mode, as it is built: in eval mode its backward pass raises.
            **options,
        )
        for weight, values in weights.items():
            getattr(module, weight).set_value(values)
        x, *states = (paddle.to_tensor(a, stop_gradient=False) for a in (x, h_0, c_0) if a is not None)
        state = None if not states else tuple(states) if kind == "lstm" else states[0]
        output, final = module(x, state, None if lengths is None else paddle.to_tensor(lengths))
        return module, [x, *states], [output, *(final if kind == "lstm" else (final,))]

    def run(*given: Any) -> Any:
        return tuple(result.numpy() for result in called(*given)[2])

    def vjp(weights: Any, x: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> Any:
        module, given, results = called(weights, x, h_0, c_0, lengths)
        wanted = [(r, paddle.to_tensor(c)) for r, c in zip(results, cotangents, strict=False) if c is not None]
        of = [*given, *(getattr(module, name) for name in weights)]
        found = paddle.grad([r for r, _ in wanted], of, [c for _, c in wanted], allow_unused=True)
        found = [None if g is None else g.numpy() for g in found]
        n = len(given)
        return dict(zip(weights, found[n:], strict=True)), *[*found[:n], None, None][:3]

    return layer(kind, run, vjp, whole=True, unsupported=LACKING)


RNN, GRU, LSTM = on_paddle("rnn", "SimpleRNN"), on_paddle("gru", "GRU"), on_paddle("lstm", "LSTM")
