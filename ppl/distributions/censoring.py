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
import numpy as np

from ..addresses import Address, show_address
from ..errors import LawfulError, ObservationError
from ..language.data.checked import checked_observation
from ..messages import SampleMessage, Source
from .interval_probability import has_masses, log_mass
from .law import BoundLaw, element_distribution, law_name, law_of
from .marginal_normal import with_filling
from .observed_law import ObservedLaw
from .truncated import families, truncated


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


def censored(message: SampleMessage, known: Interval, wanted: Any) -> tuple[Any, Any]:
    """Return the recorded numbers of an observation by intervals and its law; note in the message what is open.

    Args:
        message: the site's message.
        known: the intervals.
        wanted: a mask of the batch; where it is False nothing is known.

    Raises:
        LawfulError: the masses of intervals of the distribution are not known.
        ObservationError: a bound has another shape or is NaN, an interval is empty, or a number lies outside the
            support.
    """
    distribution, address, source = message.distribution, message.address, message.source
    element = element_distribution(distribution)
    if not has_masses(element):
        raise LawfulError(
            f"site '{show_address(address)}' ({source}): observed by intervals, and the masses of intervals of "
            f"{law_name(distribution)} are not known. Fix: use one of {families()}, or score them by lawful.factor.",
            site=address,
        )
    shape = tuple(distribution.shape())
    lower, upper = (_bound(b, name, shape, address, source) for name, b in (("lower", known.lower),
                                                                          ("upper", known.upper)))  # fmt: skip
    if wanted is not None:
        math = np if all(isinstance(x, np.ndarray) for x in (lower, upper, wanted)) else jnp
        counted = math.broadcast_to(wanted, distribution.batch_shape)
        counted = counted.reshape(counted.shape + (1,) * (len(shape) - counted.ndim))
        lower, upper = math.where(counted, lower, -np.inf), math.where(counted, upper, np.inf)
    _refuse_empty(lower, upper, address, source)
    math = np if isinstance(lower, np.ndarray) and isinstance(upper, np.ndarray) else jnp
    number = math.where(math.isfinite(lower), lower, math.where(math.isfinite(upper), upper, 0.0))
    law, parameters = law_of(distribution)
    message.interval, message.present = Interval(lower, upper), lower == upper
    exact = with_filling(number, distribution, message.present)
    exact = checked_observation(exact, distribution, address, message.plates, source)
    number = jnp.where(message.present, exact, jnp.asarray(number).astype(exact.dtype))
    return number, BoundLaw(CensoredLaw(law), (jnp.asarray(lower), jnp.asarray(upper), *parameters))


def law_within(distribution: Any, known: Interval, exact: Any) -> Any:
    """Return the law of the values inside their intervals; where the value is known, that of the site."""
    element = element_distribution(distribution)
    inside = truncated(element, jnp.where(exact, -jnp.inf, known.lower), jnp.where(exact, jnp.inf, known.upper))
    return inside.to_event(len(distribution.event_shape)) if distribution.event_shape else inside


def _bound(value: Any, name: str, shape: tuple[int, ...], address: Address, source: Source) -> Any:
    array = value if isinstance(value, jax.core.Tracer) else np.asarray(value)
    if np.shape(array) not in ((), shape):
        raise ObservationError(
            f"site '{show_address(address)}' ({source}): the {name} bound of the interval has shape {np.shape(array)}, "
            f"expected {shape}, or a scalar for all.",
            site=address, given=np.shape(array), expected=shape, source=source,
        )  # fmt: skip
    math = jnp if isinstance(array, jax.core.Tracer) else np
    return math.broadcast_to(math.asarray(array, jnp.result_type(float)), shape)


def _refuse_empty(lower: Any, upper: Any, address: Address, source: Source) -> None:
    """Refuse bounds that are known and hold no value."""
    if isinstance(lower, jax.core.Tracer) or isinstance(upper, jax.core.Tracer):
        return
    with np.errstate(invalid="ignore"):
        bad = np.argwhere(~(lower <= upper))
    if not len(bad):
        return
    where = tuple(int(i) for i in bad[0])
    raise ObservationError(
        empty_message(address, where, source),
        site=address, index=where, value=(float(lower[where]), float(upper[where])), source=source,
    )  # fmt: skip


def empty_message(address: Address, index: tuple[int, ...], source: Source) -> str:
    """Word the complaint about an interval that holds no value."""
    return (
        f"site '{show_address(address)}' ({source}): the interval of the observation at index {index} is empty, or a "
        "bound is NaN. Fix: give lower <= upper, and infinite bounds for what is not known."
    )
