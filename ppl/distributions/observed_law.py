"""Observed law: the law of an observed site by what is known of its data; and laws that are made of another one.

Law: values have the shape and the type of the law beneath, the field `base`. What data are observed of, and so what is
drawn and listed, stays the law of the base. Under a scale s the site has the density p ** s. Data that a mask leaves
out are replaced before they are scored, so they have no influence on value or gradient, whatever they are. An interval
weighs the mass that the base gives it, a single number its density; the value inside has the law of the site truncated
to the interval, at a site of its own, `<name>.censored`. As with missing data, a traced program drops that site where
nothing reads it. An interval without bounds is a missing value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..messages import refused
from .families import element_distribution
from .interval_probability import log_mass
from .law import law_of
from .marginal_normal import require_parts, score_of_parts, with_filling
from .protocol import BoundLaw, Law, of_base
from .truncated import truncated


@of_base("shape", "dtype", "label", "atoms")
class DerivedLaw(Law):
    """A law on the values of another one, the field `base` of the law; how much mass each has is up to the law."""

    base: Any


@of_base("units", "innermost")
@dataclass(frozen=True)
class ObservedLaw(DerivedLaw):
    """The law of an observed site: its parameters are the arrays of what is known, a scale if any, and the base's.

    Here all is known, by no array; `words` tell of the arrays.
    """

    base: Any
    scaled: bool = False
    words = ""

    @classmethod
    def of(cls, distribution: Any, arrays: Sequence[Any], scale: Any, **more: Any) -> BoundLaw:
        """Make the law of data of a distribution, with its parameters."""
        base, parameters = law_of(distribution)
        law = cls(base, scale is not None, **more)
        if isinstance(base, ObservedLaw):  # what is known already stays, under one more scale
            arrays, own, parameters = base.split(parameters)
            law, scale = replace(base, scaled=True), scale if own is None else own * scale
        ours = [jnp.asarray(x) for x in (*arrays, *(() if scale is None else (scale,)))]
        return BoundLaw(law, (*ours, *parameters))

    def split(self, parameters: Sequence[Any]) -> tuple[Sequence[Any], Any, tuple[Any, ...]]:
        """Return the arrays of what is known, the scale or None, and the parameters of the base."""
        n = self.known_arrays
        return parameters[:n], parameters[n] if self.scaled else None, tuple(parameters[n + self.scaled :])

    def own(self, parameters: Sequence[Any]) -> tuple[Any, ...]:
        """Return the parameters of the innermost law."""
        return self.base.own(self.split(parameters)[2])

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw from the base: what is known of the data belongs to them alone."""
        return self.base.draw(key, *self.split(parameters)[2])

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the values of the base."""
        return self.base.enumerate(*self.split(parameters)[2])

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each unit of the data."""
        known, scale, own = self.split(parameters)
        scores = self.scores(value, known, own)
        if scale is not None:
            scores = scores * scale
        return jnp.where(known[0], scores, 0.0) if self.masked else scores

    def scores(self, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Score each unit without the scale; one that does not count may have any score."""
        return self.base.log_prob_units(value, *own)

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each unit whether what counts of it lies in the support."""
        return self.base.inside(value, *self.split(parameters)[2])

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number of the value whether it is none where data are wanted."""
        return self.base.broken(value, *self.split(parameters)[2])

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell for each unit whether it counts and the parameters of the base make no law."""
        known, _, own = self.split(parameters)
        broken = self.base.flaws(*own)
        return broken & known[0] if self.masked and broken is not None else broken

    def text(self, parameters: Sequence[str]) -> str:
        """Write the law of the base, the scale, and what is known."""
        known, scale, own = self.split(parameters)
        power = "" if scale is None else f" to the power {scale}"
        return f"{self.base.text(own)}{power}{self.words.format(*known)}"


@dataclass(frozen=True)
class Masked(ObservedLaw):
    """A mask says which units count, or else which parts of them; what it leaves out may be missing."""

    masked: bool = True
    unobserved: str | None = None
    known_arrays, leaves_out, words = 1, True, " where {}"

    def there(self, mask: jax.Array) -> jax.Array:
        """Tell for each number whether it counts."""
        return mask_of_elements(self.base, mask) if self.masked else mask

    def scores(self, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Score data that are replaced where they do not count."""
        whole = self.base.bound(own)
        value = with_filling(value, whole, self.there(known[0]))
        if self.masked:
            return self.base.log_prob_units(value, *own)
        rows = score_of_parts(whole, value, known[0])
        return jnp.sum(rows, axis=tuple(range(len(self.units), rows.ndim)))

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each unit whether what counts of it lies in the support."""
        (mask,), _, own = self.split(parameters)
        found = self.base.inside(with_filling(value, self.base.bound(own), self.there(mask)), *own)
        return found | ~mask if self.masked else found

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number whether it counts and is NaN."""
        return self.base.broken(value, *self.split(parameters)[2]) & self.there(parameters[0])


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
class Censored(ObservedLaw):
    """Two bounds of each number are known, equal where the number is."""

    known_arrays, unobserved, words = 2, "censored", " between {} and {}"

    def scores(self, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Score each number by its density, each interval by its mass."""
        lower, upper = known
        element, exact = element_distribution(self.base.bound(own)), lower == upper
        filling = element.support.feasible_like(jnp.zeros(self.shape))
        number = jnp.where(exact, value, jnp.asarray(filling).astype(value.dtype))
        one, parameters = law_of(element)
        density = one.log_prob_units(number, *parameters)
        mass = log_mass(element, jnp.where(exact, -jnp.inf, lower), jnp.where(exact, jnp.inf, upper))
        scores = jnp.where(exact, density, mass)
        return jnp.sum(scores, axis=tuple(range(len(self.units), scores.ndim)))

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each unit whether its numbers lie in the support and its intervals hold a part of it."""
        (lower, upper), _, own = self.split(parameters)
        element = element_distribution(self.base.bound(own))
        found = jnp.where(lower == upper, element.support(value), log_mass(element, lower, upper) > -jnp.inf)
        return jnp.all(found, axis=tuple(range(len(self.units), found.ndim)))

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number whether its interval is empty, or a bound NaN."""
        return jnp.broadcast_to(~(parameters[0] <= parameters[1]), self.shape)


def mask_of_elements(law: Law, mask: Any) -> Any:
    """Repeat a mask of units for the elements of each; what is known stays known."""
    math: Any = np if isinstance(mask, np.ndarray | np.generic) else jnp
    mask = math.broadcast_to(mask, law.units)
    return math.broadcast_to(mask.reshape(mask.shape + (1,) * (len(law.shape) - mask.ndim)), law.shape)


def weighed(
    distribution: Any, mask: Any, scale: Any, site: Any, *, incomplete: bool = False, parts: bool = False
) -> Any:
    """Return the distribution of an observed site under a scale and a mask, of data that are missing or not.

    Raises: LawfulError for a mask of a law of an algorithm, and one of `parts` of events that have no law of a part.
    """
    if mask is None:
        return distribution if scale is None else ObservedLaw.of(distribution, (), scale)
    if law_of(distribution)[0].numbered is None:
        raise refused(site, ": a masked site needs a distribution of numpyro.")
    if parts:
        require_parts(distribution, mask, site)
    return Masked.of(distribution, (mask,), scale, masked=not parts, unobserved="missing" if incomplete else None)


def law_within(distribution: Any, known: Interval, exact: Any) -> Any:
    """Return the law of the values inside their intervals; where the value is known, that of the site."""
    element = element_distribution(distribution)
    inside = truncated(element, jnp.where(exact, -jnp.inf, known.lower), jnp.where(exact, jnp.inf, known.upper))
    return inside.to_event(len(distribution.event_shape)) if distribution.event_shape else inside
