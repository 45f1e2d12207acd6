"""Intervals: observations by the bounds that are known of them.

Law: what is recorded of an interval is a number inside it; its mass is scored, and an interval that holds no value is
refused (see `distributions.censoring`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...addresses import Address, show_address
from ...distributions.censoring import Censored, Interval, empty_message
from ...distributions.families import element_distribution, law_name
from ...distributions.interval_probability import has_masses
from ...distributions.marginal_normal import with_filling
from ...distributions.observed_law import ObservedLaw
from ...distributions.truncated import families
from ...errors import LawfulError, ObservationError
from ...messages import SampleMessage, Source
from .checked import checked_observation


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
    message.interval, message.present = Interval(lower, upper), lower == upper
    exact = with_filling(number, distribution, message.present)
    exact = checked_observation(exact, distribution, address, message.plates, source)
    number = jnp.where(message.present, exact, jnp.asarray(number).astype(exact.dtype))
    return number, ObservedLaw.of(distribution, Censored(), (lower, upper), message.scale)


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
