"""Observed: statements under masks and scales, and observations of which parts are missing or known by an interval.

Law: under a scale s and a mask m, element by element of its batch, a site has the density p ** (s m) on the support of
p, and a factor the weight w ** (s m). An observed site keeps its place, with a law that weighs its elements
(`distributions.observed_law`); a choice keeps its law, and a factor beside it adds (s m - 1) log p. What is recorded of
an interval is a number inside it; its mass is scored, and an interval that holds no value is refused.

With missing elements the density is that of the observed ones, times that of the missing ones at the site
`<name>.missing`. Where nothing reads the completed value, the missing elements integrate to one, so a traced program
drops that site; where something does, or where it is asked for, they are imputed. The site has the shape of the data,
and elements that were observed are absent from it (`distributions.absent`). What the data hold at missing elements has
no influence on any value or gradient.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import constraints

from ...addresses import indices_of, names_of
from ...distributions.absent import guarded, without_guard
from ...distributions.constraints import is_everywhere, of_elements
from ...distributions.families import core_of, element_distribution, law_name
from ...distributions.interval_probability import has_masses
from ...distributions.law import law_of
from ...distributions.marginal_normal import is_of_parts, law_of_missing_parts, with_filling
from ...distributions.observed_law import Censored, Interval, law_within, mask_of_elements, weighed
from ...distributions.protocol import BoundLaw, Law
from ...distributions.truncated import families
from ...errors import ImproperPriorError, LawfulError, ObservationError
from ...messages import FactorMessage, SampleMessage, refused, send, site_at
from .check_observations import as_known, checked_observation, empty_interval


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
    message.present = present
    if interval:
        _within(message, value, mask)
    elif parts:
        _parts(message, value, present)
    else:
        message.value = checked_observation(message, value, mask)
        message.distribution = weighed(distribution, mask, message.scale, message, incomplete=present is not None)
    message.observed, message.mask, message.scale = True, None, None


def _parts(message: SampleMessage, value: Any, present: Any) -> None:
    """Observe parts of events; of an event that is masked out no part counts."""
    distribution, wanted = message.distribution, present
    if message.mask is not None:
        wanted = both(mask_of_elements(law_of(distribution)[0], message.mask), present)
    law = weighed(distribution, wanted, message.scale, message, incomplete=True, parts=True)
    raw, wanted = as_known(value), as_known(wanted)
    if raw.shape == np.shape(present):
        raw = with_filling(raw, distribution, wanted)
    message.value, message.distribution = checked_observation(message, raw), law


def _within(message: SampleMessage, interval: Interval, wanted: Any) -> None:
    """Observe by intervals, and note what is open; where a mask of the batch is False nothing is known."""
    distribution = message.distribution
    if not has_masses(element_distribution(distribution)):
        raise refused(
            message,
            f": observed by intervals, and the masses of intervals of {law_name(distribution)} are not known. Fix: "
            f"use one of {families()}, or score them by lawful.factor.",
        )
    shape = tuple(distribution.shape())
    lower, upper = (_bound(message, name, getattr(interval, name), shape) for name in ("lower", "upper"))
    if wanted is not None:
        math = np if all(isinstance(x, np.ndarray) for x in (lower, upper, wanted)) else jnp
        counted = mask_of_elements(law_of(distribution)[0], wanted)
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
    message.distribution = Censored.of(distribution, (lower, upper), message.scale)


def _bound(message: SampleMessage, name: str, value: Any, shape: tuple[int, ...]) -> Any:
    math: Any = jnp if isinstance(value, jax.core.Tracer) else np
    given = np.shape(value)
    if given not in ((), shape):
        words = f": the {name} bound of the interval has shape {given}, expected {shape}, or a scalar for all."
        raise refused(message, words, ObservationError, given=given, expected=shape, source=message.source)
    return math.broadcast_to(math.asarray(value, jnp.result_type(float)), shape)


_BOUNDED = (constraints.simplex, constraints.corr_cholesky, constraints.corr_matrix, constraints.boolean)


def _refuse_improper(message: SampleMessage) -> None:
    """Refuse to drop the density of a choice on an unbounded set, which would leave a measure of infinite mass."""
    if isinstance(message.distribution, BoundLaw) or is_everywhere(message.mask):
        return
    support = of_elements(message.distribution.support)
    if support in _BOUNDED or (hasattr(support, "lower_bound") and hasattr(support, "upper_bound")):
        return
    raise refused(
        message,
        ": a mask drops the density of a choice, which leaves an infinite measure on its support. Fix: mask "
        "observations and factors only, or make the choice in one arm of lawful.cond, so that it is absent where it is "
        "not wanted.",
        ImproperPriorError,
    )


def correction(law: Law, value: Any, parameters: tuple[Any, ...], mask: Any, scale: Any) -> jax.Array:
    """Return what has to be added to log p to weigh a choice; nothing outside the support, which stays impossible."""
    scores = law.log_prob_units(jnp.asarray(value), *parameters)
    power = jnp.asarray(1.0 if scale is None else scale, scores.dtype)
    if mask is not None:
        power = jnp.where(mask, power, 0.0)
    possible = scores > -jnp.inf
    return jnp.sum(jnp.where(possible, (power - 1.0) * jnp.where(possible, scores, 0.0), 0.0))


def truth(mask: Any, where: str) -> Any:
    """Return a mask of truth values, or say that it is none."""
    dtype = jnp.result_type(mask)
    if not jnp.issubdtype(dtype, jnp.bool_):
        raise LawfulError(f"{where}: expected a mask of truth values, got {dtype}. Fix: write mask == 1.")
    return mask if isinstance(mask, jax.Array) else np.asarray(mask)


def both(first: Any, second: Any) -> Any:
    """Combine two masks; what is known stays known while a program is traced."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def refuse_shapes(where: str, mask: Any, scale: Any, expected: tuple[int, ...], of: str = "its batch shape") -> None:
    """Refuse a mask or a scale that does not fit the batch of a statement."""
    for what, array in (("mask", mask), ("scale", scale)):
        given = np.shape(array)
        try:
            fits = array is None or np.broadcast_shapes(given, expected) == expected
        except ValueError:
            fits = False
        if not fits:
            raise LawfulError(
                f"{where}: a {what} of shape {given} does not fit {of}, {expected}. Fix: give a scalar or an array of "
                "that shape, or put the statement in a plate of that size.",
                given=given,
                expected=expected,
            )


def missing(data: Any) -> tuple[jax.Array, jax.Array]:
    """Read NaN as missing: the data with zero in place of NaN, and the mask of what is present.

    >>> values, present = missing([1.0, float("nan")])
    >>> values.tolist(), present.tolist()
    ([1.0, 0.0], [True, False])
    """
    array = jnp.asarray(data)
    present = ~jnp.isnan(array)
    return jnp.where(present, array, jnp.zeros((), array.dtype)), present


def complete(message: SampleMessage, distribution: Any, impute: bool = False, lanes: Any = None) -> None:
    """Draw the missing elements of an observation and put them into its value.

    Args:
        message: the observation.
        distribution: its distribution as it was before the mask.
        impute: keep them as choices also where nothing reads them.
        lanes: which lanes of a loop are there; None for all.

    Raises: LawfulError where no handler gives the missing elements a value.
    """
    present = message.present
    if is_everywhere(present):
        return
    part, parts = "missing", is_of_parts(distribution, present)
    if message.interval is not None:
        part, parts, law = "censored", True, law_within(distribution, message.interval, present)
    elif parts and core_of(distribution).event_shape:
        law = law_of_missing_parts(distribution, message.value, present)
    else:
        law = guarded(distribution, both(~as_known(present), None if parts else lanes))
    address = (*names_of(message.address), part, *indices_of(message.address))
    rest = SampleMessage(
        address, law, None, False, message.plates, message.source, droppable=not impute,
        event_dims=message.event_dims if len(law.event_shape) == len(message.event_dims) else (),
    )  # fmt: skip
    send(rest)
    if rest.value is None:
        raise refused(
            message,
            f": its {part} elements have no value: wrap the program in handlers.seed(program, key), or call an "
            "inference with a key.",
        )
    math = np if isinstance(rest.value, np.ndarray | np.generic) and not isinstance(present, jax.Array) else jnp
    mask = present if parts else mask_of_elements(law_of(distribution)[0], math.asarray(present))
    given, drawn = math.asarray(message.value), math.asarray(rest.value)
    dtype = np.promote_types(given.dtype, drawn.dtype)
    message.value = math.where(mask, given.astype(dtype), drawn.astype(dtype))
