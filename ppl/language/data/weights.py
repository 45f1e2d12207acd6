"""Weights: statements under masks and scales, and observations of which parts are missing.

Law: an observed site keeps its place, with a distribution that weighs its elements; a choice keeps its distribution,
and a factor beside it weighs it (see `distributions.weighting`).
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from numpyro.distributions import constraints

from ...addresses import indices_of, names_of, show_address
from ...distributions.absent import without_guard
from ...distributions.censoring import Interval
from ...distributions.law import law_of
from ...distributions.marginal_normal import is_of_parts, partly_observed, with_filling
from ...distributions.protocol import BoundLaw
from ...distributions.support import of_elements
from ...distributions.weighting import both, correction, refuse_shapes, weighed
from ...errors import ImproperPriorError
from ...messages import FactorMessage, SampleMessage, send
from .checked import as_known, checked_observation
from .intervals import censored


def announce(message: SampleMessage) -> None:
    """Send a site under the mask and the scale around it, and, for a choice, the factor that they add."""
    send(message)
    mask, scale = message.mask, message.scale
    if (mask is None and scale is None) or message.value is None:
        return
    law, parameters = law_of(message.distribution)
    refuse_shapes(law, mask, scale, message.address, message.source)
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
    """
    address, source = message.address, message.source
    if message.lanes is not None:  # they are a part of the mask
        message.distribution = without_guard(message.distribution)
    distribution = message.distribution
    message.mask, message.lanes = both(message.mask, message.lanes), None
    if isinstance(value, Interval):
        mask = both(message.mask, present)
        if mask is not None or message.scale is not None:
            refuse_shapes(law_of(distribution)[0], mask, message.scale, address, source)
        message.value, message.distribution = censored(message, value, mask)
        message.observed, message.mask, message.scale = True, None, None
        return
    if present is not None and is_of_parts(distribution, present):
        _observe_parts(message, value, present)
        return
    mask = both(message.mask, present)
    if mask is not None or message.scale is not None:
        refuse_shapes(law_of(distribution)[0], mask, message.scale, address, source)
    message.value = checked_observation(value, distribution, address, message.plates, source, mask)
    message.distribution = weighed(distribution, mask, message.scale, address, source, present is not None)
    message.observed, message.present = True, present
    message.mask = message.scale = None


def _observe_parts(message: SampleMessage, value: Any, present: Any) -> None:
    """Observe parts of events; of an event that is masked out no part counts."""
    distribution, address, source = message.distribution, message.address, message.source
    wanted = present
    if message.mask is not None or message.scale is not None:
        refuse_shapes(law_of(distribution)[0], message.mask, message.scale, address, source)
    if message.mask is not None:
        events = (*np.shape(message.mask), *(1,) * len(distribution.event_shape))
        wanted = both(message.mask.reshape(events), present)
    bound = partly_observed(distribution, wanted, message.scale, address, source)
    raw, wanted = (as_known(array) for array in (value, wanted))
    if raw.shape == np.shape(present):
        raw = with_filling(raw, distribution, wanted)
    message.value = checked_observation(raw, distribution, address, message.plates, source)
    message.distribution, message.observed, message.present = bound, True, present
    message.mask = message.scale = None


_BOUNDED = (constraints.simplex, constraints.corr_cholesky, constraints.corr_matrix)


def _refuse_improper(message: SampleMessage) -> None:
    """Refuse to drop the density of a choice on an unbounded set, which would leave a measure of infinite mass."""
    if isinstance(message.distribution, BoundLaw):
        return
    if not isinstance(message.mask, jax.core.Tracer) and bool(np.all(np.asarray(message.mask))):
        return
    support = of_elements(message.distribution.support)
    bounded = any(support is one for one in _BOUNDED) or support is constraints.boolean
    if bounded or (hasattr(support, "lower_bound") and hasattr(support, "upper_bound")):
        return
    raise ImproperPriorError(
        f"site '{show_address(message.address)}' ({message.source}): a mask drops the density of a choice, which "
        "leaves an infinite measure on its support. Fix: mask observations and factors only, or make the choice in one "
        "arm of lawful.cond, so that it is absent where it is not wanted.",
        site=message.address,
    )
