"""speechbrain.nnet.RNN: relative lengths are cut off, not rounded: the last step of a sequence may be lost."""

import torch
from speechbrain.nnet.RNN import LSTM

lost = []
lstm, x = LSTM(hidden_size=1, input_size=1), torch.ones(2, 22, 1)
for steps in range(1, 22):
    output, _ = lstm(x, lengths=torch.tensor([22, steps]) / 22)
    if not output[1, steps - 1].any():  # it is zero beyond the end
        lost.append(steps)
assert not lost, f"of 22 steps in the batch, the last is lost of sequences of {lost} steps"
