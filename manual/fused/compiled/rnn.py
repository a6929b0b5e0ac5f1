"""One step of the Elman RNN, forward and backward, on vectors: each lane is a hidden unit of one sequence.

Slots of a unit: nothing is kept beside h; D holds da.
"""

from .functions import relu, tanh
from .memory import jit
from .vectors import where_less

KEPT = 0
GRADIENTS = 1


@jit
def forward(a, is_relu):
    """h_t = tanh(a_t) or relu(a_t), with a_t = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh."""
    if is_relu:
        return relu(a)
    return tanh(a)


@jit
def backward(h, dh, is_relu):
    """da_t = dh_t (1 - h_t^2), or dh_t where h_t > 0 and 0 elsewhere.

    dh_{t-1} = W_hh^T da_t + dL/doutput_{t-1}
    """
    if is_relu:
        return where_less(0.0, h, dh, where_less(h, 1.0, 0.0, dh))  # as h of NaN lets dh pass
    return dh * (1 - h * h)
