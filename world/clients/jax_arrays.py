"""A function of JAX arrays as `run` and `vjp` of an adapter."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

One = tuple[Callable[..., Any], Callable[..., Any]]


def run_and_vjp(function: Callable[..., tuple[Any, ...]]) -> One:
    """Return `run` and `vjp` for a function of (weights, input, h_0, c_0, lengths) that JAX differentiates.

    Each is compiled whole. Cases differ in shape, so that nothing compiled is kept.
    """

    def jitted(of: Callable[..., Any], weights: Any, *arrays: Any) -> Any:
        jax.clear_caches()
        given = (None if a is None else jnp.asarray(a) for a in arrays)
        found = jax.jit(of)({name: jnp.asarray(w) for name, w in weights.items()}, *given)
        return jax.tree.map(np.asarray, found)

    def run(weights: Any, input: Any, h_0: Any, c_0: Any, lengths: Any) -> tuple[Any, ...]:
        return jitted(lambda *given: function(weights.spec, *given, lengths), weights, input, h_0, c_0)

    def vjp(weights: Any, input: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> tuple[Any, ...]:
        def gradients(w: Any, x: Any, h_0: Any, c_0: Any, *cotangents: Any) -> tuple[Any, ...]:
            results, pull = jax.vjp(lambda *given: function(weights.spec, *given, lengths), w, x, h_0, c_0)
            of_results = zip(results, cotangents, strict=False)
            return pull(tuple(jnp.zeros_like(r) if c is None else c for r, c in of_results))

        return jitted(gradients, weights, input, h_0, c_0, *cotangents)

    return run, vjp
