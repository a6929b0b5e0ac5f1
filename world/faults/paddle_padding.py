"""paddle.nn with lengths: NaN in the padding reaches the output and state of a sequence that has ended."""

import numpy as np
import paddle

lengths, wrong = paddle.to_tensor([4, 2]), []
for kind in ("SimpleRNN", "GRU", "LSTM"):
    layer = getattr(paddle.nn, kind)(3, 4)
    x = np.ones((2, 4, 3), "f")
    true = layer(paddle.to_tensor(x), None, lengths)[1]
    x[1, 2:] = np.nan  # past the end of the second sequence
    found = layer(paddle.to_tensor(x), None, lengths)[1]
    found, true = (np.array(v[1] if kind == "LSTM" else v)[0, 1, 0] for v in (found, true))
    wrong += [] if found == true else [f"{kind}: {found}, not {true:.6f}"]
assert not wrong, "; ".join(wrong)
