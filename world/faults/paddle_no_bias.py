"""paddle.nn.LSTM, GRU and SimpleRNN without biases: the process ends with a segmentation fault."""

import paddle

layer = paddle.nn.LSTM(3, 4, bias_ih_attr=False, bias_hh_attr=False)
out, _ = layer(paddle.zeros([2, 5, 3]))
assert (out.numpy() == 0).all(), "an LSTM without biases gives 0 for input 0"
