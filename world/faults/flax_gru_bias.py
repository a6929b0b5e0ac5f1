"""flax.nnx.GRUCell: b_hn, which its documentation and flax.linen have, is missing."""

import jax
import jax.numpy as jnp
from flax import linen, nnx

carry, x = jnp.zeros((1, 4)), jnp.zeros((1, 3))
ones = jax.nn.initializers.ones  # for every bias
cell = linen.GRUCell(4, bias_init=ones)
true = cell.apply(cell.init(jax.random.key(0), carry, x), carry, x)[0][0, 0].item()
found = nnx.GRUCell(3, 4, bias_init=ones, rngs=nnx.Rngs(0))(carry, x)[0][0, 0].item()
assert abs(found - true) < 1e-6, f"{found:.6f}, not {true:.6f}"
