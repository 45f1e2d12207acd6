"""Block Gibbs: labels given counts and neighbours, redrawn by many rows at once, each bag keeping its count.

Law: both steps leave the measure as it is. The first takes rows of which no two are neighbours, chosen without a look
at labels: given the rest those of a bag are independent but for their count. All bags are redrawn at once, exactly.
The second takes two rows of each bag, of bags whose pairs are no neighbours, and redraws the two together: so a bag
whose members are all neighbours moves too, and every labelling with the counts is reached.

With K classes a step redraws, among the rows of two classes, which is of which.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lawful.inference.graphs import counts as counting

from .fields import Counted, Joint, fields, ones_in

__all__ = ["gibbs_labels", "redrawn_apart", "redrawn_pairs"]


def gibbs_labels(
    joint: Joint, start: np.ndarray, key: jax.Array, *, steps: int = 100, draws: int = 1
) -> Int[Array, "draws n"]:
    """Go from labels to labels, and keep some on the way.

    Args:
        joint: the measure.
        start: labels that meet the counts (n,).
        key: of all randomness.
        steps: of both kinds, between draws and before the first.
        draws: number of labellings that are kept.

    >>> from lawful.models.llp.bags import Bags
    >>> from lawful.models.llp.fields import joint_of
    >>> joint = joint_of(np.zeros(4), Bags.from_ids([0, 0, 1, 1], [1, 2]))
    >>> gibbs_labels(joint, np.array([1, 0, 1, 1]), jax.random.key(0), steps=3)[0, 2:].tolist()
    [1, 1]
    """
    joint = jax.tree.map(jnp.asarray, joint)
    return _walked(joint, jnp.asarray(start, jnp.int32), key, steps=steps, draws=draws)


@partial(jax.jit, static_argnames=("steps", "draws"))
def _walked(joint: Joint, start: jax.Array, key: jax.Array, *, steps: int, draws: int) -> jax.Array:
    classes = joint.scores.shape[1]
    pairs = jnp.array([(a, b) for b in range(classes) for a in range(b)], jnp.int32)

    def step(y: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        which, apart, together = jax.random.split(key, 3)
        a, b = pairs[jax.random.randint(which, (), 0, len(pairs))]
        y = redrawn_apart(apart, joint, y, a, b)
        return redrawn_pairs(together, joint, y, a, b), None

    def draw(y: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = jax.lax.scan(step, y, jax.random.split(key, steps))[0]
        return y, y

    return jax.lax.scan(draw, start, jax.random.split(key, draws))[1]


def redrawn_apart(key: jax.Array, joint: Joint, y: Int[Array, " n"], a: Any, b: Any) -> Int[Array, " n"]:
    """Redraw the labels a and b of rows that come before all of their neighbours in an order by chance."""
    order, *keys = jax.random.split(key, 1 + len(joint.bags))
    rank = jax.random.uniform(order, y.shape, joint.scores.dtype)
    apart = ~_beaten(joint, rank, jnp.arange(len(y)))
    chosen = apart & ((y == a) | (y == b))
    field = fields(joint, y)
    h = jnp.where(chosen, field[:, b] - field[:, a], jnp.where(y == b, jnp.inf, -jnp.inf))
    h = jnp.append(h, jnp.asarray(-jnp.inf, h.dtype))
    found = jnp.append(y, 0)
    for key, bags in zip(keys, joint.bags, strict=True):
        size = bags.rows.shape[1]
        u = jax.random.uniform(key, (len(bags.rows), counting.uniforms_needed(size)), h.dtype)
        ones = counting.push_members(u, h[bags.rows], bags.weights[b - 1])
        taken = jnp.append(chosen, False)[bags.rows]
        found = found.at[bags.rows].set(jnp.where(taken, jnp.where(ones, b, a), found[bags.rows]))
    return found[:-1]


def redrawn_pairs(key: jax.Array, joint: Joint, y: Int[Array, " n"], a: Any, b: Any) -> Int[Array, " n"]:
    """Redraw two labels of each bag together, where both are a or b and no other pair is a neighbour."""
    order, *keys = jax.random.split(key, 1 + len(joint.bags))
    of_bag = jax.random.uniform(order, y.shape, joint.scores.dtype)  # there are at most as many bags as rows
    pairs = [_pair(key, bags, len(y)) for key, bags in zip(keys, joint.bags, strict=True)]
    held = jnp.append(y, -1)
    rank = jnp.full(len(y) + 1, -1, of_bag.dtype)
    for bags, (i, j) in zip(joint.bags, pairs, strict=True):
        ranks = of_bag[bags.first + jnp.arange(len(bags.rows))]
        rank = rank.at[i].set(ranks).at[j].set(ranks)
    beaten = jnp.append(_beaten(joint, rank[:-1], joint.owners), True)

    def free(at: jax.Array) -> Bool[Array, " G"]:
        return ~beaten[at] & ((held[at] == a) | (held[at] == b))

    chosen = [free(i) & free(j) for i, j in pairs]

    def with_labels(first: Any, second: Any) -> jax.Array:
        told = held
        for (i, j), moved in zip(pairs, chosen, strict=True):
            told = told.at[i].set(jnp.where(moved, first, told[i]))
            told = told.at[j].set(jnp.where(moved, second, told[j]))
        return told

    neither, one = (fields(joint, with_labels(first, a)[:-1]) for first in (a, b))
    lone, beside = (jnp.append(f[:, b] - f[:, a], 0) for f in (neither, one))
    found = held
    for key, bags, (i, j), moved in zip(keys, joint.bags, pairs, chosen, strict=True):
        mine = (held[i] == b).astype(jnp.int32) + (held[j] == b).astype(jnp.int32)
        rest = jnp.where(moved, ones_in(bags, y == b) - mine, 0)
        counts = rest[:, None] + jnp.arange(3, dtype=jnp.int32)[None]
        weight = jnp.take_along_axis(bags.weights[b - 1], counts, axis=1, mode="clip")
        scores = jnp.stack(
            [weight[:, 0], weight[:, 1] + lone[i], weight[:, 1] + lone[j], weight[:, 2] + lone[i] + beside[j]], axis=1
        )
        known = jnp.where(moved[:, None], scores, 0)
        drawn = jax.random.categorical(jax.random.fold_in(key, 2), known, mode="high")
        found = found.at[i].set(jnp.where(moved, jnp.where(drawn % 2 == 1, b, a), found[i]))
        found = found.at[j].set(jnp.where(moved, jnp.where(drawn >= 2, b, a), found[j]))
    return found[:-1]


def _pair(key: jax.Array, bags: Counted, n: int) -> tuple[jax.Array, jax.Array]:
    """Choose two members of each bag; n for both where there is one alone."""
    sizes = jnp.sum(bags.rows < n, axis=1, dtype=jnp.int32)
    u = jax.random.uniform(jax.random.fold_in(key, 1), (2, len(sizes)), jnp.float32)
    i = jnp.minimum((u[0] * sizes.astype(u.dtype)).astype(jnp.int32), sizes - 1)
    other = jnp.minimum((u[1] * (sizes - 1).astype(u.dtype)).astype(jnp.int32), jnp.maximum(sizes - 2, 0))
    j = (i + 1 + other) % sizes
    both = [jnp.take_along_axis(bags.rows, at[:, None], axis=1)[:, 0] for at in (i, j)]
    return jnp.where(sizes > 1, both[0], n), jnp.where(sizes > 1, both[1], n)


def _beaten(joint: Joint, rank: Float[Array, " n"], owners: Int[Array, " n"]) -> Bool[Array, " n"]:
    """Mark rows with a neighbour of another owner whose rank is not lower; among equals both are."""
    first, second = joint.edges[:, 0], joint.edges[:, 1]
    apart = owners[first] != owners[second]
    beaten = jnp.zeros(len(rank), bool)
    beaten = beaten.at[first].max(apart & (rank[second] >= rank[first]))
    return beaten.at[second].max(apart & (rank[first] >= rank[second]))
