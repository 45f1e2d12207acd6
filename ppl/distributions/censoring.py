"""Censoring: observations of which only an interval is known that holds the value.

Law: an interval weighs the mass that the law of the site gives it, a single number its density; the value inside has
the law of the site truncated to the interval, at a site of its own, `<name>.censored`. As with missing data, a traced
program drops that site where nothing reads it. An interval without bounds is a missing value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from .families import element_distribution
from .interval_probability import log_mass
from .law import law_of
from .protocol import Known, Law
from .truncated import truncated


@dataclass(frozen=True)
class Interval:
    """What is known of an observation: the least and the largest value that it can have, both included.

    Right-censored data have an infinite upper bound, left-censored ones an infinite lower one, rounded data two finite
    ones, exact data two equal ones, and missing data none; they may stand side by side.

    Attributes:
        lower: the least value, of the site's shape or a scalar for all.
        upper: the largest value, of the site's shape or a scalar for all.

    >>> import jax.numpy as jnp, numpyro.distributions as dist, lawful
    >>> months, died = jnp.array([5.0, 8.0]), jnp.array([True, False])
    >>> def survival():
    ...     with lawful.plate("patient", 2):
    ...         known = lawful.Interval(months, jnp.where(died, months, jnp.inf))
    ...         lawful.sample("months", dist.Exponential(0.1), obs=known)
    >>> round(float(lawful.trace(survival).log_density({})), 4)  # log 0.1 - 0.5 - 0.8
    -3.6026
    """

    lower: Any
    upper: Any


@dataclass(frozen=True)
class Censored(Known):
    """Two bounds of each number are known, equal where the number is."""

    arrays, unobserved = 2, "censored"

    def scores(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Score each number by its density, each interval by its mass."""
        lower, upper = known
        element, exact = element_distribution(law.bound(own)), lower == upper
        filling = element.support.feasible_like(jnp.zeros(law.shape))
        number = jnp.where(exact, value, jnp.asarray(filling).astype(value.dtype))
        one, parameters = law_of(element)
        density = one.log_prob_units(number, *parameters)
        mass = log_mass(element, jnp.where(exact, -jnp.inf, lower), jnp.where(exact, jnp.inf, upper))
        scores = jnp.where(exact, density, mass)
        return jnp.sum(scores, axis=tuple(range(len(law.units), scores.ndim)))

    def inside(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each unit whether its numbers lie in the support and its intervals hold a part of it."""
        lower, upper = known
        element = element_distribution(law.bound(own))
        found = jnp.where(lower == upper, element.support(value), log_mass(element, lower, upper) > -jnp.inf)
        return jnp.all(found, axis=tuple(range(len(law.units), found.ndim)))

    def broken(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each number whether its interval is empty, or a bound NaN."""
        return jnp.broadcast_to(~(known[0] <= known[1]), law.shape)

    def text(self, known: Sequence[str]) -> str:
        """Write the bounds."""
        return f" between {known[0]} and {known[1]}"


def law_within(distribution: Any, known: Interval, exact: Any) -> Any:
    """Return the law of the values inside their intervals; where the value is known, that of the site."""
    element = element_distribution(distribution)
    inside = truncated(element, jnp.where(exact, -jnp.inf, known.lower), jnp.where(exact, jnp.inf, known.upper))
    return inside.to_event(len(distribution.event_shape)) if distribution.event_shape else inside
