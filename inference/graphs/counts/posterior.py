"""Posterior of the count: its law under the members alone, and under members and factor together.

Law: the prior log law is the message to a variable that holds the count; the posterior is prior times potential,
normalised, and a derivative of the log evidence. Both are exact where they are far below rounding: a law is tilted to
the place that is asked about, and the recursion in the log domain takes over where that is not enough.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from . import blocks, product_tree, recursion, solving
from .arguments import check, rows
from .chunks import side_by_side
from .tilting import chances, known

LOST = {jnp.dtype("float32"): 1e-30, jnp.dtype("float64"): 1e-280}


def count_posterior(
    h: Float[Array, "... B"], g: Float[Array, "... S"], *, negated: Bool[Array, " ..."] | None = None
) -> Float[Array, "... S"]:
    """Return the probabilities of the counts 0..B given the factor; all 0 where no count is possible.

    Args:
        h: log odds (..., B).
        g: log potential of the counts (..., B + 1).
        negated: members that count when they are zero.

    >>> [round(float(p), 4) for p in count_posterior(jnp.zeros(2), jnp.array([0.0, 0.0, -jnp.inf]))]
    [0.3333, 0.6667, 0.0]
    """
    at = rows(h, g, negated, "count_posterior")
    return at.bags(count_rows(at.h, at.g))


def _posterior(h: Float[Array, "B G"], g: Float[Array, "S G"]) -> Float[Array, "T G"]:
    problem = solving.pose(h, g)
    law = blocks.law(problem.tilted.one, problem.tilted.zero)
    weights = jnp.where(problem.tilted.clipped, 0, problem.tilted.weights)
    mass = law * weights
    total = jnp.sum(mass, axis=0)
    real = problem.possible.bag
    trusted = jnp.all((total >= solving.FLOOR[h.dtype]) | ~real)

    def plain() -> jax.Array:
        return mass / jnp.where(real, total, 1)[None]

    def in_logs() -> jax.Array:
        log_law = recursion.log_law(problem.h, len(law))
        level = jnp.where(log_law == -jnp.inf, -jnp.inf, log_law + problem.g)
        log_total = recursion.log_total(level)
        return jnp.exp(level - jnp.where(real, log_total, 0)[None])

    return jax.lax.cond(trusted, plain, in_logs)


def count_law(h: Float[Array, "... B"], *, negated: Bool[Array, " ..."] | None = None) -> Float[Array, "... S"]:
    """Return the log probabilities of the counts 0..B of independent members, the message to a variable for the count.

    Args:
        h: log odds (..., B).
        negated: members that count when they are zero.

    Returns: log probabilities (..., B + 1), -inf only where a known member excludes a count.

    >>> jnp.exp(count_law(jnp.zeros(2))).round(4).tolist()
    [0.25, 0.5, 0.25]
    """
    flat = jnp.zeros(h.shape[-1] + 1 if h.ndim else 1, h.dtype)
    check(h, flat, "count_law", len(flat))
    at = rows(h, flat, negated, "count_law")
    return at.bags(law_rows(at.h, at.g))


def _law(h: Float[Array, "B G"], g: Float[Array, "S G"]) -> Float[Array, "T G"]:
    """Take the logarithm of the linear law where nothing was lost, else the recursion in the log domain."""
    h, g = product_tree.filled(h, g)
    law = blocks.law(*chances(h))
    members = known(h)
    s = jnp.arange(len(g), dtype=h.dtype)[:, None]
    reached = (s >= members.ones[None]) & (s <= (members.ones + members.free)[None])

    def plain() -> jax.Array:
        return jnp.where(reached, jnp.log(jnp.where(reached, law, 1)), -jnp.inf)

    trusted = jnp.all((law >= LOST[h.dtype]) | ~reached)
    return jax.lax.cond(trusted, plain, lambda: recursion.log_law(h, len(g)))


count_rows, law_rows = side_by_side(_posterior), side_by_side(_law)  # of rows of bags
