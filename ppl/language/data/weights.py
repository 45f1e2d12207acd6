"""Weights: statements under masks and scales, and observations of which parts are missing or known by an interval.

Law: an observed site keeps its place, with a distribution that weighs its elements; a choice keeps its distribution,
and a factor beside it weighs it (see `distributions.weighting`). What is recorded of an interval is a number inside it;
its mass is scored, and an interval that holds no value is refused (see `distributions.censoring`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from ...addresses import indices_of, names_of
from ...distributions.absent import without_guard
from ...distributions.censoring import Censored, Interval
from ...distributions.families import element_distribution, law_name
from ...distributions.interval_probability import has_masses
from ...distributions.law import law_of
from ...distributions.marginal_normal import is_of_parts, partly_observed, with_filling
from ...distributions.observed_law import ObservedLaw
from ...distributions.parameter_constraints import is_everywhere
from ...distributions.protocol import BoundLaw
from ...distributions.support import of_elements
from ...distributions.truncated import families
from ...distributions.weighting import both, correction, refuse_shapes, weighed
from ...errors import ImproperPriorError, LawfulError, ObservationError
from ...messages import FactorMessage, SampleMessage, send, site_at
from .checked import as_known, checked_observation, empty_interval


def announce(message: SampleMessage) -> None:
    """Send a site under the mask and the scale around it, and, for a choice, the factor that they add."""
    send(message)
    mask, scale = message.mask, message.scale
    if (mask is None and scale is None) or message.value is None:
        return
    law, parameters = law_of(message.distribution)
    refuse_shapes(site_at(message), mask, scale, law.units)
    if mask is not None:
        _refuse_improper(message)
    address = (*names_of(message.address), "weight", *indices_of(message.address))
    term = correction(law, message.value, parameters, mask, scale)
    send(FactorMessage(address, term, message.source, role="prior", weighs=message.address))


def observe(message: SampleMessage, value: Any, present: Any = None) -> None:
    """Observe a site: check the data and move mask and scale into the distribution.

    Args:
        message: the site's message; it becomes an observation.
        value: the data.
        present: which elements of the batch were observed; None for all.

    Raises:
        LawfulError: a mask does not fit, or the masses of intervals of the distribution are not known.
        ObservationError: data or bounds do not fit their site, or an interval is empty.
    """
    if message.lanes is not None:  # they are a part of the mask
        message.distribution = without_guard(message.distribution)
    distribution = message.distribution
    message.mask, message.lanes = both(message.mask, message.lanes), None
    interval = isinstance(value, Interval)
    parts = present is not None and not interval and is_of_parts(distribution, present)
    mask = message.mask if parts else both(message.mask, present)
    if mask is not None or message.scale is not None:
        refuse_shapes(site_at(message), mask, message.scale, law_of(distribution)[0].units)
    if not interval:
        message.present = present
    if interval:
        _within(message, value, mask)
    elif parts:
        _parts(message, value, present)
    else:
        message.value = checked_observation(message, value, mask)
        message.distribution = weighed(distribution, mask, message.scale, message, present is not None)
    message.observed, message.mask, message.scale = True, None, None


def _parts(message: SampleMessage, value: Any, present: Any) -> None:
    """Observe parts of events; of an event that is masked out no part counts."""
    distribution, wanted = message.distribution, present
    if message.mask is not None:
        wanted = both(message.mask.reshape(*np.shape(message.mask), *(1,) * len(distribution.event_shape)), present)
    bound = partly_observed(distribution, wanted, message.scale, message)
    raw, wanted = as_known(value), as_known(wanted)
    if raw.shape == np.shape(present):
        raw = with_filling(raw, distribution, wanted)
    message.value, message.distribution = checked_observation(message, raw), bound


def _within(message: SampleMessage, interval: Interval, wanted: Any) -> None:
    """Observe by intervals, and note what is open; where a mask of the batch is False nothing is known."""
    distribution = message.distribution
    if not has_masses(element_distribution(distribution)):
        raise LawfulError(
            f"{site_at(message)}: observed by intervals, and the masses of intervals of {law_name(distribution)} are "
            f"not known. Fix: use one of {families()}, or score them by lawful.factor.",
            site=message.address,
        )
    shape = tuple(distribution.shape())
    lower, upper = (_bound(message, name, getattr(interval, name), shape) for name in ("lower", "upper"))
    if wanted is not None:
        math = np if all(isinstance(x, np.ndarray) for x in (lower, upper, wanted)) else jnp
        counted = math.broadcast_to(wanted, distribution.batch_shape)
        counted = counted.reshape(counted.shape + (1,) * (len(shape) - counted.ndim))
        lower, upper = math.where(counted, lower, -np.inf), math.where(counted, upper, np.inf)
    math = np if isinstance(lower, np.ndarray) and isinstance(upper, np.ndarray) else jnp
    if not isinstance(lower, jax.core.Tracer) and not isinstance(upper, jax.core.Tracer):
        with np.errstate(invalid="ignore"):
            bad = np.argwhere(~np.asarray(lower <= upper))
        if len(bad):
            index = tuple(map(int, bad[0]))
            raise empty_interval(message, index, value=(float(lower[index]), float(upper[index])))
    number = math.where(math.isfinite(lower), lower, math.where(math.isfinite(upper), upper, 0.0))
    message.interval, message.present = Interval(lower, upper), lower == upper
    exact = checked_observation(message, with_filling(number, distribution, message.present))
    message.value = jnp.where(message.present, exact, jnp.asarray(number).astype(exact.dtype))
    message.distribution = ObservedLaw.of(distribution, Censored(), (lower, upper), message.scale)


def _bound(message: SampleMessage, name: str, value: Any, shape: tuple[int, ...]) -> Any:
    math: Any = jnp if isinstance(value, jax.core.Tracer) else np
    given = np.shape(value)
    if given not in ((), shape):
        raise ObservationError(
            f"{site_at(message)}: the {name} bound of the interval has shape {given}, expected {shape}, or a scalar "
            "for all.",
            site=message.address, given=given, expected=shape, source=message.source,
        )  # fmt: skip
    return math.broadcast_to(math.asarray(value, jnp.result_type(float)), shape)


_BOUNDED = (constraints.simplex, constraints.corr_cholesky, constraints.corr_matrix, constraints.boolean)


def _refuse_improper(message: SampleMessage) -> None:
    """Refuse to drop the density of a choice on an unbounded set, which would leave a measure of infinite mass."""
    if isinstance(message.distribution, BoundLaw) or is_everywhere(message.mask):
        return
    support = of_elements(message.distribution.support)
    if support in _BOUNDED or (hasattr(support, "lower_bound") and hasattr(support, "upper_bound")):
        return
    raise ImproperPriorError(
        f"{site_at(message)}: a mask drops the density of a choice, which leaves an infinite measure on its support. "
        "Fix: mask observations and factors only, or make the choice in one arm of lawful.cond, so that it is absent "
        "where it is not wanted.",
        site=message.address,
    )
