"""Sampling: filter forward, then draw back, each state given the one after it, as a function of uniforms.

Law: with independent uniforms the path has the law gamma / Z. State t is the inverse distribution function, at u_t, of

    P(x_t = i | x_{t+1} = j, all scores) proportional to exp(log_law[t, i] + transition_{t+1}[i, j]),

so the uniforms that give one path are a box, whose volume is the path's probability. Both methods give the same path.

Reference: Chib (1996), Calculating posterior distributions and modal estimates in Markov mixture models.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from lawful.errors import LawfulError

from .chain import Chain
from .filtering import filtered
from .logs import lowered
from .paths import follow


def push_path(u: Float[Array, " T"], given: Chain, method: str = "auto") -> Int[Array, " T"]:
    """Turn uniforms into a path with the law gamma / Z.

    Args:
        u: uniforms in [0, 1), one a step (T,).
        given: a chain.
        method: as of `log_z`, for the filter; and "associative" composes the draws in a tree.

    Returns: states in 0..K-1 (T,), int32; -1 where no path is feasible. Many paths of one chain: `jax.vmap` over `u`
        alone filters once.

    >>> from lawful.inference.graphs.chains import chain
    >>> given = chain(jnp.log(jnp.array([[1.0, 1.0], [1.0, 3.0]])), jnp.log(jnp.array([[0.5, 0.5], [0.0, 1.0]])))
    >>> push_path(jnp.array([0.1, 0.05]), given).tolist(), push_path(jnp.array([0.5, 0.9]), given).tolist()
    ([0, 0], [1, 1])
    """
    if u.shape != (given.steps,):
        raise LawfulError(
            f"push_path: u: expected shape {(given.steps,)}, a uniform for each step, got {u.shape}. Fix: draw as many "
            "as the chain has steps; for many paths, map over the first axis with jax.vmap."
        )
    return _push_path(u, given, given.method(method))


@partial(jax.jit, static_argnames="method")
def _push_path(u: jax.Array, given: Chain, method: str) -> Int[Array, " T"]:
    if not given.steps:
        return jnp.zeros(0, jnp.int32)
    laws = filtered(given, method).log_law
    u = u.astype(laws.dtype)
    path = (_by_maps if method == "associative" else _step_by_step)(u, given, laws)
    return jnp.where(jnp.max(laws[-1]) == -jnp.inf, -1, path)


def _step_by_step(u: jax.Array, given: Chain, laws: Float[Array, "T K"]) -> Int[Array, " T"]:
    live, scores = None if given.live is None else given.live[1:], None if given.shared else given.transition

    def step(x: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        u, law, here, own = step
        before = pick(u, law + (given.transition if own is None else own)[:, x])
        return (before if here is None else jnp.where(here, before, x)), x

    first, rest = lax.scan(step, pick(u[-1], laws[-1]), (u[:-1], laws[:-1], live, scores), reverse=True)
    return jnp.concatenate([first[None], rest])


def _by_maps(u: jax.Array, given: Chain, laws: Float[Array, "T K"]) -> Int[Array, " T"]:
    scores = laws[:-1, :, None] + given.moves()
    maps = jax.vmap(jax.vmap(pick, (None, 1)))(u[:-1], scores)
    return follow(maps, pick(u[-1], laws[-1]))


def pick(u: Float[Array, ""], log_weights: Float[Array, " K"]) -> Int[Array, ""]:
    """Inverse distribution function: the first item at which the running sum of weights passes u times their total.

    >>> pick(jnp.float32(0.5), jnp.log(jnp.array([1.0, 0.0, 3.0]))).item()
    2
    """
    sums = jnp.cumsum(jnp.exp(lowered(log_weights, jnp.max(log_weights))))
    return jnp.sum((sums <= u * sums[-1]) & (sums < sums[-1]), dtype=jnp.int32)
