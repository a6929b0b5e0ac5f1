"""One step of the LSTM, forward and backward, on vectors: each lane is a hidden unit of one sequence.

Kept of a step: c, i, f, g, o, and with a projection q, what is projected. Its gradients: da_i, da_f, da_g, da_o.
"""

from .functions import sigmoid, tanh
from .memory import jit
from .vectors import fma

C, I, F, G, O, Q = 0, 1, 2, 3, 4, 5
KEPT = 5
GRADIENTS = 4


@jit
def forward(a_i, a_f, a_g, a_o, c_prev):
    """The LSTM as in `lstm_cell`: a_i = W_ii x_t + b_ii + W_hi h_{t-1} + b_hi, and so for f, g and o.

    h is what a projection is taken of where there is one.
    """
    i = sigmoid(a_i)
    f = sigmoid(a_f)
    g = tanh(a_g)
    o = sigmoid(a_o)
    c = fma(f, c_prev, i * g)
    h = o * tanh(c)
    return i, f, g, o, c, h


@jit
def backward(i, f, g, o, c, c_prev, dh, dc):
    """dh and dc are the whole gradients of h_t and c_t, from the output and from step t+1.

    dh_{t-1} = W_hi^T da_i + W_hf^T da_f + W_hg^T da_g + W_ho^T da_o + dL/doutput_{t-1}
    """
    tanh_c = tanh(c)
    da_o = dh * tanh_c * o * (1 - o)
    dc = fma(dh * o, 1 - tanh_c * tanh_c, dc)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c_prev * f * (1 - f)
    da_g = dc * i * (1 - g * g)
    dc_prev = dc * f
    return da_i, da_f, da_g, da_o, dc_prev
