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
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..messages import refused
from .families import element_distribution
from .interval_probability import log_mass
from .law import law_of
from .marginal_normal import require_parts, score_of_parts, with_filling
from .protocol import ALL, BoundLaw, Known, Law, of_base
from .truncated import truncated


@of_base("shape", "dtype", "label", "atoms")
class DerivedLaw(Law):
    """A law on the values of another one, the field `base` of the law; how much mass each has is up to the law."""

    base: Any


@of_base("units", "innermost")
@dataclass(frozen=True)
class ObservedLaw(DerivedLaw):
    """The law of an observed site: its parameters are the arrays of what is known, a scale if any, and the base's."""

    base: Any
    known: Known = ALL
    scaled: bool = False

    @classmethod
    def of(cls, distribution: Any, known: Known, arrays: Sequence[Any], scale: Any) -> BoundLaw:
        """Make the law of data of a distribution, with its parameters."""
        law, parameters = law_of(distribution)
        if isinstance(law, ObservedLaw):  # what is known already stays, under one more scale
            known, (arrays, own, parameters) = law.known, law.split(parameters)
            law, scale = law.base, scale if own is None else own * scale
        ours = [jnp.asarray(x) for x in (*arrays, *(() if scale is None else (scale,)))]
        return BoundLaw(cls(law, known, scale is not None), (*ours, *parameters))

    def split(self, parameters: Sequence[Any]) -> tuple[Sequence[Any], Any, tuple[Any, ...]]:
        """Return the arrays of what is known, the scale or None, and the parameters of the base."""
        n = self.known.arrays
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
        scores = self.known.scores(self.base, value, known, own)
        if scale is not None:
            scores = scores * scale
        return jnp.where(known[0], scores, 0.0) if self.known.masked else scores

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each unit whether what counts of it lies in the support."""
        known, _, own = self.split(parameters)
        return self.known.inside(self.base, value, known, own)

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number of the value whether it is none where data are wanted."""
        known, _, own = self.split(parameters)
        return self.known.broken(self.base, value, known, own)

    def flaws(self, *parameters: jax.Array, drawn: jax.Array | None = None) -> jax.Array | None:
        """Tell for each unit whether it counts and the parameters of the base make no law."""
        known, _, own = self.split(parameters)
        broken = self.base.flaws(*own)
        return broken & known[0] if self.known.masked and broken is not None else broken

    def text(self, parameters: Sequence[str]) -> str:
        """Write the law of the base, the scale, and what is known."""
        known, scale, own = self.split(parameters)
        power = "" if scale is None else f" to the power {scale}"
        return f"{self.base.text(own)}{power}{self.known.text(known)}"


@dataclass(frozen=True)
class Masked(Known):
    """A mask says which units count, or else which parts of them; where data are `incomplete`, that was observed."""

    incomplete: bool = False
    masked: bool = True
    arrays, leaves_out = 1, True

    @property
    def unobserved(self) -> str | None:
        """What the mask leaves out, if it was not observed."""
        return "missing" if self.incomplete else None

    def there(self, law: Law, mask: jax.Array) -> jax.Array:
        """Tell for each number whether it counts."""
        return mask_of_elements(law, mask) if self.masked else mask

    def scores(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Score data that are replaced where they do not count."""
        whole = law.bound(own)
        value = with_filling(value, whole, self.there(law, known[0]))
        if self.masked:
            return law.log_prob_units(value, *own)
        rows = score_of_parts(whole, value, known[0])
        return jnp.sum(rows, axis=tuple(range(len(law.units), rows.ndim)))

    def inside(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each unit whether what counts of it lies in the support."""
        found = law.inside(with_filling(value, law.bound(own), self.there(law, known[0])), *own)
        return found | ~known[0] if self.masked else found

    def broken(self, law: Law, value: jax.Array, known: Sequence[Any], own: Sequence[Any]) -> jax.Array:
        """Tell for each number whether it counts and is NaN."""
        return law.broken(value, *own) & self.there(law, known[0])

    def text(self, known: Sequence[str]) -> str:
        """Write the mask."""
        return f" where {known[0]}"


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
        return distribution if scale is None else ObservedLaw.of(distribution, ALL, (), scale)
    if law_of(distribution)[0].numbered is None:
        raise refused(site, ": a masked site needs a distribution of numpyro.")
    if parts:
        require_parts(distribution, mask, site)
    return ObservedLaw.of(distribution, Masked(incomplete, masked=not parts), (mask,), scale)


def law_within(distribution: Any, known: Interval, exact: Any) -> Any:
    """Return the law of the values inside their intervals; where the value is known, that of the site."""
    element = element_distribution(distribution)
    inside = truncated(element, jnp.where(exact, -jnp.inf, known.lower), jnp.where(exact, jnp.inf, known.upper))
    return inside.to_event(len(distribution.event_shape)) if distribution.event_shape else inside
