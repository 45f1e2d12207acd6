"""Interval probability: log P(lower <= Y <= upper) of distributions of one number.

Law: the line as a whole has probability one, and those of intervals side by side add up. A bound may be infinite,
outside the support, or beyond all numbers that occur; gradients in the parameters stay finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from numpyro.distributions import transforms

from .constraints import of_elements
from .families import core_of, family_of, log_prob
from .log_tails import Tails, log1mexp

MOVES = (transforms.ExpTransform, transforms.AffineTransform, transforms.PowerTransform)


def has_masses(distribution: Any) -> bool:
    """Tell whether the masses of intervals of a distribution are known.

    >>> has_masses(dist.Weibull(1.0, 2.0)), has_masses(dist.VonMises(0.0, 1.0))
    (True, False)
    """
    core = core_of(distribution)
    if core.event_shape:
        return False
    if family_of(core).log_tails is not None or getattr(core, "has_enumerate_support", False):
        return True
    if isinstance(core, dist.TransformedDistribution):
        return all(type(t) in MOVES for t in core.transforms) and has_masses(core.base_dist)
    return isinstance(core, dist.MixtureSameFamily) and has_masses(core.component_distribution)


def log_mass(distribution: Any, lower: Any, upper: Any) -> jax.Array:
    """Return the log masses of intervals, both bounds included, in the shape of the batch and the bounds.

    >>> round(float(log_mass(dist.Normal(0.0, 1.0), 40.0, jnp.inf)), 2)
    -804.61
    >>> round(float(jnp.exp(log_mass(dist.Poisson(2.0), 1, jnp.inf))), 4)
    0.8647
    """
    core = core_of(distribution)
    lower, upper = (jnp.asarray(bound, jnp.result_type(float)) for bound in (lower, upper))
    if isinstance(core, dist.TransformedDistribution):
        for move in reversed(core.transforms):
            lower, upper = _back(move, lower, upper)
        return log_mass(core.base_dist, lower, upper)
    if isinstance(core, dist.MixtureSameFamily):
        parts = log_mass(core.component_distribution, lower[..., None], upper[..., None])
        weights = jax.nn.log_softmax(_logits(core.mixing_distribution))
        return _sum_exp(weights + parts, parts > -jnp.inf)
    tails = family_of(core).log_tails
    return _listed(core, lower, upper) if tails is None else _by_tails(core, tails, lower, upper)


def _by_tails(core: Any, tails: Callable[..., Tails], lower: jax.Array, upper: jax.Array) -> jax.Array:
    """Take the difference of the tails on the side where they are small."""
    first, last = bounds_of(core.support)
    if core.support.is_discrete:  # P(a <= Y <= b) = P(Y <= b) - P(Y <= a - 1)
        lower, upper = jnp.ceil(lower) - 1.0, jnp.floor(upper)
        none = (upper < first) | (lower >= last) | (upper <= lower)
        below, above = lower < first, upper >= last
    else:
        none = (upper <= first) | (lower >= last) | (upper <= lower)
        below, above = lower <= first, upper >= last
    safe = core.support.feasible_like(jnp.zeros(jnp.broadcast_shapes(lower.shape, core.batch_shape)))
    kind = jnp.result_type(float)
    a_low, a_high = tails(core, jnp.where(below | none, safe, lower).astype(kind))
    b_low, b_high = tails(core, jnp.where(above | none, safe, upper).astype(kind))
    left = jnp.where(below | none, False, a_low > a_high)  # the interval lies in the upper half
    # With one bound the mass is a tail; with two it is a difference, large minus small.
    large, small = jnp.where(left, a_high, b_low), jnp.where(left, b_high, a_low)
    inner = ~(below | above | none)
    gap = jnp.where(inner, large - small, 1.0)
    gap = jnp.where(gap > 0, gap, jnp.finfo(gap.dtype).tiny)
    two = jnp.where(inner, large, 0.0) + log1mexp(gap)
    one = jnp.where(below, jnp.where(above, 0.0, b_low), a_high)
    return jnp.where(none, -jnp.inf, jnp.where(inner, two, one))


def bounds_of(support: Any) -> tuple[Any, Any]:
    """Return the least and the largest number of a support of one number.

    >>> bounds_of(dist.constraints.positive)
    (0.0, inf)
    """
    support = of_elements(support)
    return getattr(support, "lower_bound", -np.inf), getattr(support, "upper_bound", np.inf)


def _back(move: Any, lower: jax.Array, upper: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Bring the bounds of Y = move(X) back to bounds of X; what Y does not reach stays out of the arithmetic."""
    turned = jnp.asarray(move.sign) < 0
    whole = isinstance(move, transforms.AffineTransform)  # all others are of positive numbers
    least, start = -np.inf if whole else 0.0, 0.0 if isinstance(move, transforms.PowerTransform) else -np.inf
    first, last = jnp.where(turned, np.inf, start), jnp.where(turned, start, np.inf)

    def back(bound: jax.Array) -> jax.Array:
        inside = (bound > least) & (bound < np.inf)
        moved = move.inv(jnp.where(inside | jnp.isnan(bound), bound, 1.0))
        return jnp.where(inside | jnp.isnan(bound), moved, jnp.where(bound > least, last, first))

    low, high = back(lower), back(upper)
    return jnp.where(turned, high, low), jnp.where(turned, low, high)


def _listed(core: Any, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """Sum over a finite support."""
    values = core.enumerate_support(expand=False)
    shape = jnp.broadcast_shapes(lower.shape, upper.shape, core.batch_shape)
    column = jnp.broadcast_to(values.reshape(-1, *(1,) * len(shape)), (len(values), *shape))
    scores = log_prob(core, column)
    inside = (column >= lower) & (column <= upper) & (scores > -jnp.inf)
    return _sum_exp(jnp.moveaxis(scores, 0, -1), jnp.moveaxis(inside, 0, -1))


def _sum_exp(terms: jax.Array, counted: jax.Array) -> jax.Array:
    """Sum the terms that count, over the last axis; gradients are zero where there is none."""
    some = jnp.any(counted, axis=-1)
    total = logsumexp(jnp.where(counted | ~some[..., None], jnp.where(counted, terms, 0.0), -jnp.inf), axis=-1)
    return jnp.where(some, total, -jnp.inf)


def _logits(mixing: Any) -> jax.Array:
    return jnp.asarray(mixing.logits if isinstance(mixing, dist.CategoricalLogits) else jnp.log(mixing.probs))
