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

    The backward pass is run step by step, for the gradient of a scan is not always right: see
    `faults/jax_scan_gradient.py`. Cases differ in shape, so that nothing compiled is kept.
    """

    def primals(weights: Any, *arrays: Any) -> tuple[Any, ...]:
        arrays = tuple(None if a is None else jnp.asarray(a) for a in arrays)
        return {name: jnp.asarray(w) for name, w in weights.items()}, *arrays

    def run(weights: Any, input: Any, h_0: Any, c_0: Any, lengths: Any) -> tuple[Any, ...]:
        w, *arrays = primals(weights, input, h_0, c_0)
        return tuple(map(np.asarray, function(weights.spec, w, *arrays, lengths)))

    def vjp(weights: Any, input: Any, h_0: Any, c_0: Any, lengths: Any, *cotangents: Any) -> tuple[Any, ...]:
        given = primals(weights, input, h_0, c_0)
        jax.clear_caches()
        with jax.disable_jit():
            results, pull = jax.vjp(lambda *given: function(weights.spec, *given, lengths), *given)
            of_results = zip(results, cotangents, strict=False)
            gradients = pull(tuple(jnp.zeros_like(r) if c is None else jnp.asarray(c) for r, c in of_results))
        return jax.tree.map(np.asarray, gradients)

    return run, vjp
