"""Viterbi, the best path: max-product forward, then back along the states that the maxima came from.

Law: the value is the score of the returned path, added up with compensation, and no path scores higher beyond
rounding. Ties go to the lowest index, from the last state back. Going back needs the forward scores alone: the best
state before a known one is a maximum of K numbers, so no pointers are stored, and none are found in the forward loop.

Reference: Viterbi (1967), Error bounds for convolutional codes; Forney (1973), The Viterbi algorithm.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from . import associative
from .chain import Chain, path_score
from .logs import lowered
from .paths import follow


class BestPath(NamedTuple):
    """A path of largest score (T,), and its log score; where no path is feasible, states of -1 and minus infinity."""

    path: Int[Array, " T"]
    value: Float[Array, ""]


def best_path(given: Chain, method: str = "auto") -> BestPath:
    """Find the path of largest score.

    Args:
        given: a chain.
        method: as of `log_z`; the maxima are always those of logs.

    Returns: BestPath. The derivative of its value is 1 at the scores along the path, also among ties.

    >>> from lawful.inference.graphs.chains import chain
    >>> found = best_path(chain(jnp.array([[0.0, 0.5], [0.0, 0.0]]), jnp.array([[0.0, 0.0], [-1.0, 0.25]])))
    >>> found.path.tolist(), found.value.item()
    ([1, 1], 0.75)
    """
    return _best_path(given, given.method(method))


@partial(jax.jit, static_argnames="method")
def _best_path(given: Chain, method: str) -> BestPath:
    if not given.steps:
        return BestPath(jnp.zeros(0, jnp.int32), jnp.zeros((), given.node.dtype))
    fixed = jax.tree.map(lax.stop_gradient, given)
    path = (_by_products if method == "associative" else _step_by_step)(fixed)
    value = path_score(given, path).high
    return BestPath(jnp.where(value == -jnp.inf, -1, path), value)


def _step_by_step(given: Chain) -> Int[Array, " T"]:
    evidence, live = given.evidence(), None if given.live is None else given.live[1:]
    scores = None if given.shared else given.transition

    def forward(v: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        score, here, own = step
        raw = jnp.max(v[:, None] + (given.transition if own is None else own), axis=0) + score
        after = lowered(raw, jnp.max(raw))
        return (after if here is None else jnp.where(here, after, v)), v

    def backward(x: jax.Array, step: Any) -> tuple[jax.Array, jax.Array]:
        v, here, own = step
        before = _argmax(v + (given.transition if own is None else own)[:, x])
        return (before if here is None else jnp.where(here, before, x)), x

    start = lowered(evidence[0], jnp.max(evidence[0]))
    last, vs = lax.scan(forward, start, (evidence[1:], live, scores))
    first, rest = lax.scan(backward, _argmax(last), (vs, live, scores), reverse=True)
    return jnp.concatenate([first[None], rest])


def _by_products(given: Chain) -> Int[Array, " T"]:
    best = associative.prefixes(associative.max_product, associative.forward_stretches(given))[:, 0]
    best = lowered(best, jnp.max(best, axis=1, keepdims=True))
    maps = _argmax(best[:-1, :, None] + given.moves(), axis=1)
    return follow(maps, _argmax(best[-1]))


def _argmax(scores: jax.Array, axis: int = 0) -> jax.Array:
    return jnp.argmax(scores, axis=axis).astype(jnp.int32)
