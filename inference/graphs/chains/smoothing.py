"""Smoothing: marginals of a chain and its log Z, by the fast passes where these are certified and by exact ones else.

Law: node marginals are P(x_t = i), pair marginals P(x_{t-1} = i, x_t = j) under gamma / Z. A chain without a feasible
path has log Z = -inf, and all its marginals are 0. Which passes ran changes nothing beyond rounding. In a batch the
exact passes run only if one of its chains needs them, and then change the results of that chain alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ...laws.log_sum import log_sum
from . import associative, linear, logs
from .chain import Chain
from .linear import Evidence, Passes, Products
from .logs import Messages
from .sums import total


class Marginals(NamedTuple):
    """What is known of the states given all scores.

    Attributes:
        log_z: log of the sum of gamma over all paths; -inf where no path is feasible, and then all marginals are 0.
        remainder: what `log_z` lacks by rounding; log_z + remainder is right to about twice the digits.
        node: P(x_t = i), (T, K); at a step that is masked out, the law of the state before it.
        pairs: P(x_{t-1} = i, x_t = j), (T - 1, K, K), diagonal at steps that are masked out; or their sum over the
            steps that are there, the expected number of moves (K, K); or None.
    """

    log_z: Float[Array, ""]
    remainder: Float[Array, ""]
    node: Float[Array, "T K"]
    pairs: Float[Array, "*S K K"] | None


@jax.custom_batching.custom_vmap
def _any(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The flag itself; over a batch whether one is set, the same for all, so that a branch on it stays a branch."""
    return flag


@_any.def_vmap
def _any_of_batch(size: int, batched: Sequence[bool], flags: Bool[Array, " B"]) -> tuple[Bool[Array, ""], bool]:
    return _any(jnp.any(flags)), False


def where_certified(certified: Bool[Array, ""], fast: Any, exact: Callable[[], Any]) -> Any:
    """Take the fast result where it is certified, else the exact one, which is computed only if it is needed."""

    def keep(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(certified, old, new)

    return lax.cond(_any(~certified), lambda: jax.tree.map(keep, exact(), fast), lambda: fast)


@partial(jax.jit, static_argnames=("method", "pairs"))
def plain_marginals(given: Chain, method: str, pairs: str) -> Marginals:
    """Marginals whose log Z has no derivative of its own."""
    if not given.steps:
        return _of_nothing(given, pairs)
    if method == "logs":
        return from_messages(given, logs.messages(given), pairs)
    if method == "associative":
        found, certified = associative.fast_messages(given)
        fast = from_messages(given, found, pairs, at_once=True)
        return where_certified(
            certified, fast, lambda: from_messages(given, associative.exact_messages(given), pairs, at_once=True)
        )
    moves, evidence = linear.products(given), linear.evidence_of(given)
    passes = linear.passes(given, moves, evidence)
    fast = from_passes(given, moves, evidence, passes, pairs)
    return where_certified(passes.certified, fast, lambda: from_messages(given, logs.messages(given), pairs))


def _of_nothing(given: Chain, pairs: str) -> Marginals:
    zero, square = jnp.zeros((), given.node.dtype), (given.states, given.states)
    counted = {"none": None, "sum": jnp.zeros(square, zero.dtype), "each": jnp.zeros((0, *square), zero.dtype)}
    return Marginals(zero, zero, given.node, counted[pairs])


def from_passes(given: Chain, moves: Products, evidence: Evidence, passes: Passes, pairs: str) -> Marginals:
    """Marginals from the passes in the linear domain."""
    v, u, norm = passes.forward, passes.backward, passes.dots
    summed = total(jnp.concatenate(linear.terms_of(given, moves, evidence, passes.totals)))
    node = v * u / norm[:, None]
    if pairs == "none":
        return Marginals(*summed, node, None)
    w = linear.held(u, evidence.weight, linear.floor_for(v.dtype, given.states))[1:]
    if pairs == "sum" and given.shared:
        scale = (norm[1:] * linear.divisor(passes.totals[:-1]))[:, None]
        after = w if given.live is None else jnp.where(given.live[1:, None], w, 0)
        counts = jnp.matmul((v[:-1] / scale).T, after, precision=lax.Precision.HIGHEST)
        return Marginals(*summed, node, counts * linear.matrix_of(given.transition)[0])
    scores = given.moves()
    matrices = jax.vmap(lambda s: linear.matrix_of(s)[0])(scores)
    if given.live is not None:
        w = jnp.where(given.live[1:, None], w, u[1:])
    each = v[:-1, :, None] * matrices * w[:, None, :]
    each = each / _sizes(each)[:, None, None]
    return Marginals(*summed, node, each if pairs == "each" else _counted(given, each))


def _sizes(weights: jax.Array) -> jax.Array:
    """Sums over all axes but the first, 1 for 0."""
    sizes = jnp.sum(weights, axis=tuple(range(1, weights.ndim)))
    return jnp.where(sizes == 0, 1, sizes)


def _counted(given: Chain, each: Float[Array, "S K K"]) -> Float[Array, "K K"]:
    return each.sum(0) if given.live is None else jnp.sum(jnp.where(given.live[1:, None, None], each, 0), axis=0)


def from_messages(given: Chain, found: Messages, pairs: str, at_once: bool = False) -> Marginals:
    """Marginals from log messages; pairs are added up step by step, with less memory, unless `at_once`."""
    summed = total(found.terms)
    node = _softmax(found.forward + found.backward)
    if pairs == "none":
        return Marginals(*summed, node, None)
    after = given.evidence()[1:] + found.backward[1:]

    def pair(before: jax.Array, after: jax.Array, move: jax.Array) -> jax.Array:
        return _softmax((before[:, None] + move + after[None]).reshape(1, -1)).reshape(move.shape)

    if pairs == "each" or not given.shared or at_once:
        each = jax.vmap(pair)(found.forward[:-1], after, given.moves())
        return Marginals(*summed, node, each if pairs == "each" else _counted(given, each))
    live = jnp.ones(given.steps - 1, bool) if given.live is None else given.live[1:]

    def add(counts: jax.Array, step: Any) -> tuple[jax.Array, None]:
        before, after, here = step
        return counts + jnp.where(here, pair(before, after, given.transition), 0), None

    counts, _ = lax.scan(add, jnp.zeros_like(given.transition), (found.forward[:-1], after, live))
    return Marginals(*summed, node, counts)


def _softmax(scores: Float[Array, "T K"]) -> Float[Array, "T K"]:
    """Probabilities of log weights, row by row; zeros for a row of minus infinities."""
    size = log_sum(scores, -1)
    return jnp.exp(scores - jnp.where(size == -jnp.inf, 0, size)[:, None])
