"""One step of the GRU, forward and backward, on vectors: each lane is a hidden unit of one sequence.

Kept of a step: r, z, n, m. Its gradients: dm, da_r, da_z, da_n, so that those of W_hh h + b_hh are the first three and
those of W_ih x + b_ih the last three.
"""

from .functions import sigmoid, tanh
from .memory import jit
from .vectors import fma

R, Z, N, M = 0, 1, 2, 3
KEPT = 4
GRADIENTS = 4


@jit
def forward(a_r, a_z, a_n, m, h_prev):
    """The GRU whose reset gate is applied after the recurrent product, as in `gru_cell`.

    a_r = W_ir x_t + b_ir + W_hr h_{t-1} + b_hr, and so for z
    a_n = W_in x_t + b_in
    m   = W_hn h_{t-1} + b_hn
    """
    r = sigmoid(a_r)
    z = sigmoid(a_z)
    n = tanh(fma(r, m, a_n))
    h = fma(z, h_prev - n, n)  # (1 - z) n + z h_{t-1}
    return r, z, n, h


@jit
def backward(r, z, n, m, h_prev, dh):
    """dh is the whole gradient of h_t, from the output and from step t+1.

    dh_{t-1} = dh z + W_hr^T da_r + W_hz^T da_z + W_hn^T dm + dL/doutput_{t-1}
    """
    dh_z = dh * z
    da_n = (dh - dh_z) * (1 - n * n)
    dm = da_n * r
    da_r = dm * m * (1 - r)
    da_z = dh_z * (1 - z) * (h_prev - n)
    return dm, da_r, da_z, da_n, dh_z
