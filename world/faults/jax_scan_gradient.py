"""jax.grad of a scan over a GRU, for some numbers: outside of jit the gradient is not that of the function."""

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
random = np.random.default_rng(0)
W, U, b, b_n = (jnp.asarray(random.normal(0, k, size)) for k, size in ((4, (15, 8)), (4, (15, 5)), (1, 15), (1, 5)))
input = jnp.asarray(random.normal(size=(2, 4, 8)))


def step(x, h):
    (r, z, n), (u_r, u_z, u_n) = jnp.split(W @ x + b, 3), jnp.split(U @ h, 3)
    n = jnp.tanh(n + jax.nn.sigmoid(r + u_r) * (u_n + b_n))
    return n + jax.nn.sigmoid(z + u_z) * (h - n)


def loss(x):
    return jax.lax.scan(lambda h, x: (jax.vmap(step)(x, h),) * 2, jnp.zeros((4, 5)), x)[1].sum()


found, true = jax.grad(loss)(input), jax.jit(jax.grad(loss))(input)
assert np.allclose(found, true), f"off by {abs(found - true).max():.3g}, of {abs(true).max():.3g} at most"
