"""Maximum: the best completion of each value of each member, and the best assignment of all.

Law: with members in descending order of log odds (ties by index) the best s of them are the first s, so the best score
is max_s g(s) + h_(1) + ... + h_(s), and without member i the first s of the others. Scores are summed outwards from the
best count, where they are small, so the difference of two of them keeps its digits. O(B log B) a bag.

Reference: Gupta, Diwan and Sarawagi (2007), Efficient inference with cardinality-based clique potentials.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .arguments import rows
from .possible import possible
from .tilting import known


class Best(NamedTuple):
    """The best assignment (..., B), its score g(s) + sum of h over its ones, and their number."""

    assignment: Bool[Array, "... B"]
    score: Float[Array, " ..."]
    ones: Int[Array, " ..."]


class _Sorted(NamedTuple):
    """A bag in descending order: positions, numbers of known and free members, the best count, and relative scores."""

    order: jax.Array
    ones: jax.Array
    free: jax.Array
    best: jax.Array
    prefix: jax.Array


def max_messages(
    h: Float[Array, "... B"], g: Float[Array, "... S"], *, negated: Bool[Array, " ..."] | None = None
) -> Float[Array, "... B"]:
    """Return the max-product log odds to each member: best score of the others with it one minus with it zero.

    For a hard count S that is -h_(S+1) for members among the S best and -h_(S) for the others.

    Args:
        h: log odds of the members (..., B).
        g: log potential of the counts (..., B + 1).
        negated: members that count when they are zero.

    >>> max_messages(jnp.array([2.0, 1.0, -1.0]), jnp.array([-jnp.inf, 0.0, -jnp.inf, -jnp.inf])).tolist()
    [-1.0, -2.0, -2.0]
    """
    at = rows(h, g, negated, "max_messages")
    told = jax.vmap(_max_row)(at.h, at.g)
    allowed = possible(at.h.T, at.g.T, known(at.h.T))
    one, zero = allowed.one.T, allowed.zero.T
    impossible = jnp.where(one, jnp.inf, jnp.where(zero, -jnp.inf, 0)).astype(h.dtype)
    return at.members(jnp.where(one & zero, told, impossible))


def best_assignment(
    h: Float[Array, "... B"], g: Float[Array, "... S"], *, negated: Bool[Array, " ..."] | None = None
) -> Best:
    """Return the most probable assignment; among equals the smallest count, then the members of lowest index.

    Args:
        h: log odds of the members (..., B).
        g: log potential of the counts (..., B + 1).
        negated: members that count when they are zero.

    Returns: a Best, whose score counts h_i for each (free) one; -inf where no count is possible.

    >>> best = best_assignment(jnp.array([2.0, 1.0, 3.0]), jnp.array([0.0, 0.0, 0.0, -9.0]))
    >>> best.assignment.tolist(), float(best.score), int(best.ones)
    ([True, False, True], 5.0, 2)
    """
    at = rows(h, g, negated, "best_assignment")

    def one_bag(h: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        bag = _sort(h, g)
        chosen = jnp.zeros(len(h), bool).at[bag.order].set(jnp.arange(len(h), dtype=jnp.int32) < bag.best)
        real = jnp.any(jnp.isfinite(bag.prefix + _within(bag, g)))
        score = jnp.sum(jnp.where(chosen & jnp.isfinite(h), h, 0)) + g[bag.best]
        return chosen, jnp.where(real, score, -jnp.inf), bag.best

    chosen, score, count = jax.vmap(one_bag)(at.h, at.g)
    if at.sign is None:
        return Best(at.bags(chosen), at.bags(score), at.bags(count))
    turned = at.sign < 0
    lost = jnp.sum(jnp.where(turned & jnp.isfinite(at.h), at.h, 0), axis=1)  # a turned member is scored when it is one
    return Best(at.bags(chosen != turned), at.bags(score - lost), at.bags(count))


def _sort(h: Float[Array, " B"], g: Float[Array, " S"]) -> _Sorted:
    order = jnp.argsort(-h, stable=True)
    sorted_h = h[order]
    finite = jnp.where(jnp.isfinite(sorted_h), sorted_h, 0)
    ones = jnp.sum(h == jnp.inf, dtype=jnp.int32)
    free = jnp.sum(jnp.isfinite(h), dtype=jnp.int32)
    bag = _Sorted(order, ones, free, ones, _from(finite, ones))
    for _ in range(2):  # first to near the best, where sums are exact enough to tell it from its neighbours
        best = jnp.argmax(bag.prefix + _within(bag, g)).astype(jnp.int32)
        bag = bag._replace(best=best, prefix=_from(finite, best))
    return bag


def _within(bag: _Sorted, g: Float[Array, " S"]) -> Float[Array, " S"]:
    s = jnp.arange(len(g), dtype=jnp.int32)
    return jnp.where((s >= bag.ones) & (s <= bag.ones + bag.free), g, -jnp.inf)


def _from(h: Float[Array, " B"], best: jax.Array) -> Float[Array, " S"]:
    """Return the score of the first s members minus that of the first `best`, summed from there to either side."""
    place = jnp.arange(len(h), dtype=jnp.int32)
    after = jnp.cumsum(jnp.where(place >= best, h, 0))
    before = jnp.cumsum(jnp.where(place < best, h, 0)[::-1])[::-1]
    zero = jnp.zeros(1, h.dtype)
    return jnp.concatenate([zero, after]) - jnp.concatenate([before, zero])


def _max_row(h: Float[Array, " B"], g: Float[Array, " S"]) -> Float[Array, " B"]:
    size = len(h)
    bag = _sort(h, g)
    rank = jnp.zeros(size, jnp.int32).at[bag.order].set(jnp.arange(size, dtype=jnp.int32))
    own = jnp.where(jnp.isfinite(h), h, 0)
    s = jnp.arange(size, dtype=jnp.int32)

    def best_with(potential: jax.Array) -> jax.Array:
        """Return max over s = 0..B-1 others of potential(s) plus the best s of them."""
        low, high = bag.ones, bag.ones + bag.free

        def among(low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
            inside = jnp.where((s >= low) & (s <= high), potential, -jnp.inf)
            up_to = jax.lax.cummax(inside + bag.prefix[:-1])
            beyond = jax.lax.cummax(inside + bag.prefix[1:], reverse=True)
            return up_to[rank], jnp.where(rank + 1 < size, beyond[jnp.minimum(rank + 1, size - 1)], -jnp.inf) - own

        pairs = [among(low, high - 1), among(low - 1, high - 1), among(low, high)]
        free, one, zero = (jnp.maximum(*pair) for pair in pairs)
        return jnp.where(h == jnp.inf, one, jnp.where(h == -jnp.inf, zero, free))

    if not size:
        return h
    with_one, with_zero = best_with(g[1:]), best_with(g[:-1])
    fine = jnp.isfinite(with_one) & jnp.isfinite(with_zero)
    return jnp.where(fine, jnp.where(fine, with_one, 0) - jnp.where(fine, with_zero, 0), 0)
