"""Censoring: observations of which only an interval is known that holds the value.

Law: an interval weighs the mass that the law of the site gives it, a single number its density; the value inside has
the law of the site truncated to the interval, at a site of its own, `<name>.censored`. As with missing data, a traced
program drops that site where nothing reads it. An interval without bounds is a missing value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..addresses import Address, show_address
from ..messages import Source
from .interval_probability import log_mass
from .law import element_distribution, law_of
from .observed_law import ObservedLaw
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
class CensoredLaw(ObservedLaw):
    """The law of an observed site of which intervals are known.

    Its parameters are the bounds, then those of the base.
    """

    base: Any

    def own(self, parameters: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the parameters of the base."""
        return tuple(parameters[2:])

    def distribution(self, *parameters: Any) -> Any:
        """Rebuild the distribution of the value itself."""
        return self.base.distribution(*parameters[2:])

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each part: the density of a number, the mass of an interval."""
        lower, upper, _ = self.split(parameters)
        element, exact = element_distribution(self.distribution(*parameters)), lower == upper
        filling = element.support.feasible_like(jnp.zeros(self.shape))
        number = jnp.where(exact, value, jnp.asarray(filling).astype(value.dtype))
        law, own = law_of(element)
        density = law.log_prob_units(number, *own)
        mass = log_mass(element, jnp.where(exact, -jnp.inf, lower), jnp.where(exact, jnp.inf, upper))
        scores = jnp.where(exact, density, mass)
        return jnp.sum(scores, axis=tuple(range(len(self.units), scores.ndim)))

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each part whether its numbers lie in the support and its intervals hold a part of it."""
        lower, upper, _ = self.split(parameters)
        element = element_distribution(self.distribution(*parameters))
        found = jnp.where(lower == upper, element.support(value), log_mass(element, lower, upper) > -jnp.inf)
        return jnp.all(found, axis=tuple(range(len(self.units), found.ndim)))

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number whether its interval is empty, or a bound NaN."""
        lower, upper, _ = self.split(parameters)
        return jnp.broadcast_to(~(lower <= upper), self.shape)

    def split(self, parameters: tuple[Any, ...]) -> tuple[Any, Any, tuple[Any, ...]]:
        """Return the bounds and the parameters of the base."""
        return parameters[0], parameters[1], tuple(parameters[2:])


def law_within(distribution: Any, known: Interval, exact: Any) -> Any:
    """Return the law of the values inside their intervals; where the value is known, that of the site."""
    element = element_distribution(distribution)
    inside = truncated(element, jnp.where(exact, -jnp.inf, known.lower), jnp.where(exact, jnp.inf, known.upper))
    return inside.to_event(len(distribution.event_shape)) if distribution.event_shape else inside


def empty_message(address: Address, index: tuple[int, ...], source: Source) -> str:
    """Word the complaint about an interval that holds no value."""
    return (
        f"site '{show_address(address)}' ({source}): the interval of the observation at index {index} is empty, or a "
        "bound is NaN. Fix: give lower <= upper, and infinite bounds for what is not known."
    )
