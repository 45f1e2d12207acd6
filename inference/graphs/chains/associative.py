"""Associative: the two passes as products of matrices in a tree: O(T K^3) operations in O(log T) steps.

Law: an element is the matrix of a stretch of steps, up to a constant; the product of two neighbours is that of the
whole stretch, so all prefixes give the forward messages, and those of the transposed steps backwards the others. Fast
elements are a log offset for each row and a matrix whose rows have largest entry 1, multiplied in the linear domain
and floored as in `linear`, with a bound of the same form; exact ones are log matrices.

Reference: Särkkä and García-Fernández (2021), Temporal parallelization of Bayesian smoothers; Hassan, Särkkä and
García-Fernández (2021), Temporal parallelization of inference in hidden Markov models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from ...laws.log_sum import log_sum, safe_log
from .chain import Chain
from .linear import divisor, floor_for, rounding_for
from .logs import Messages, lowered

Element = tuple[jax.Array, jax.Array]


def log_product(a: Float[Array, "*S K K"], b: Float[Array, "*S K K"]) -> Float[Array, "*S K K"]:
    """Product of log matrices, lowered to largest entry 0.

    >>> log_product(jnp.log(jnp.array([[1.0, 3.0]]).repeat(2, 0)), jnp.zeros((2, 2))).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    raw = log_sum(a[..., :, :, None] + b[..., None, :, :], axis=-2)
    return lowered(raw, jnp.max(raw, axis=(-2, -1), keepdims=True))


def max_product(a: Float[Array, "*S K K"], b: Float[Array, "*S K K"]) -> Float[Array, "*S K K"]:
    """Product of log matrices with the maximum in place of the sum, lowered to largest entry 0."""
    raw = jnp.max(a[..., :, :, None] + b[..., None, :, :], axis=-2)
    return lowered(raw, jnp.max(raw, axis=(-2, -1), keepdims=True))


def element(log_matrix: Float[Array, "*S K K"]) -> Element:
    """Log offsets of rows, and the matrix whose rows have largest entry 1."""
    floor = floor_for(log_matrix.dtype, log_matrix.shape[-1])
    top = lax.stop_gradient(jnp.max(log_matrix, axis=-1))
    matrix = jnp.exp(lowered(log_matrix, top[..., None]))
    return _common(top), jnp.where(log_matrix > -jnp.inf, jnp.maximum(matrix, floor), 0)


def product(first: Element, second: Element) -> Element:
    """Product of two elements; logs only of K^2 numbers, the K^3 operations are a product of matrices."""
    (offset, a), (inner, b) = first, second
    floor = floor_for(a.dtype, a.shape[-1])
    raw = safe_log(a) + inner[..., None, :]
    top = lax.stop_gradient(jnp.max(raw, axis=-1))
    left = jnp.exp(lowered(raw, top[..., None]))
    left = jnp.where(raw > -jnp.inf, jnp.maximum(left, floor), 0)
    whole = jnp.matmul(left, b, precision=lax.Precision.HIGHEST)
    size = jnp.max(whole, axis=-1)
    scale = divisor(size)
    matrix = jnp.where(whole > 0, jnp.maximum(whole / scale[..., None], floor), 0)
    return _common(jnp.where(size > 0, offset + jnp.where(size > 0, top, 0) + jnp.log(scale), -jnp.inf)), matrix


def _common(offset: jax.Array) -> jax.Array:
    """Drop what all rows share: over long stretches it would drown their differences."""
    return lowered(offset, jnp.max(offset, axis=-1, keepdims=True))


def forward_stretches(given: Chain) -> Float[Array, "T K K"]:
    """Log matrices of the steps, whose prefixes have the forward messages in every row."""
    evidence = given.evidence()
    first = jnp.broadcast_to(evidence[:1, None, :], (1, given.states, given.states))
    return jnp.concatenate([first, given.moves() + evidence[1:, None, :]])


def stretches(given: Chain) -> Float[Array, "T 2 K K"]:
    """The same beside the transposed ones from the last step back, whose prefixes have the backward messages."""
    forward = forward_stretches(given)
    backward = jnp.concatenate([jnp.zeros_like(forward[:1]), jnp.swapaxes(forward[:0:-1], 1, 2)])
    return jnp.stack([forward, backward], axis=1)


def prefixes(combine: Callable[[Any, Any], Any], elements: Any) -> Any:
    """All products from the first element on."""
    return lax.associative_scan(combine, elements)


def _both_ways(rows: Float[Array, "T 2 K"]) -> tuple[Float[Array, "T K"], Float[Array, "T K"]]:
    """Messages from the rows of the prefixes, largest 0."""
    rows = lowered(rows, jnp.max(rows, axis=-1, keepdims=True))
    return rows[:, 0], rows[::-1, 1]


def with_terms(given: Chain, forward: Float[Array, "T K"], backward: Float[Array, "T K"]) -> Messages:
    """Normalise forward messages, and find each increment of log Z from its own step, so that no error adds up."""
    forward = lowered(forward, log_sum(forward, -1)[:, None])
    evidence = given.evidence()
    steps = forward[:-1, :, None] + given.moves() + evidence[1:, None, :]
    terms = log_sum(log_sum(steps, axis=1), -1)
    if given.live is not None:
        terms = jnp.where(given.live[1:], terms, 0)
    terms = jnp.concatenate([log_sum(evidence[:1], -1), terms])
    return Messages(forward, backward, lax.stop_gradient(terms))


def fast_messages(given: Chain) -> tuple[Messages, Bool[Array, ""]]:
    """Both passes by fast elements, and whether what floors add is below rounding."""
    rows = prefixes(product, element(stretches(given)))[1][:, :, 0]
    forward, backward = _both_ways(safe_log(rows))
    k, depth = given.states, 1 + math.ceil(math.log2(given.steps))
    dots = lax.stop_gradient(jnp.sum(jnp.exp(forward + backward), axis=1))
    gap = floor_for(forward.dtype, k) * 2 * k * k * (k + 1) * depth * jnp.sum(1 / dots)
    feasible = forward[-1].max() > -jnp.inf
    return with_terms(given, forward, backward), (gap <= rounding_for(forward.dtype)) | ~feasible


def exact_forward(given: Chain) -> Float[Array, "T K"]:
    """Forward messages by log matrices."""
    return prefixes(log_product, forward_stretches(given))[:, 0]


def exact_messages(given: Chain) -> Messages:
    """Both passes by log matrices."""
    return with_terms(given, *_both_ways(prefixes(log_product, stretches(given))[:, :, 0]))
