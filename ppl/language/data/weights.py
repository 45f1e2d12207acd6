"""Weights: statements under masks and scales, and observations of which parts are missing.

Law: an observed site keeps its place, with a distribution that weighs its elements; a choice keeps its distribution,
and a factor beside it weighs it (see `distributions.weighting`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpyro.distributions import constraints

from ...addresses import indices_of, names_of, show_address
from ...distributions.absent import without_guard
from ...distributions.censoring import Interval
from ...distributions.law import law_of
from ...distributions.marginal_normal import is_of_parts, partly_observed, with_filling
from ...distributions.parameter_constraints import is_everywhere
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
    parts = present is not None and not isinstance(value, Interval) and is_of_parts(distribution, present)
    mask = message.mask if parts else both(message.mask, present)
    if mask is not None or message.scale is not None:
        refuse_shapes(law_of(distribution)[0], mask, message.scale, address, source)
    if isinstance(value, Interval):
        message.value, message.distribution = censored(message, value, mask)
    elif parts:
        message.value, message.distribution = _parts(message, value, present)
    else:
        message.value = checked_observation(value, distribution, address, message.plates, source, mask)
        message.distribution = weighed(distribution, mask, message.scale, address, source, present is not None)
    if not isinstance(value, Interval):
        message.present = present
    message.observed, message.mask, message.scale = True, None, None


def _parts(message: SampleMessage, value: Any, present: Any) -> tuple[Any, Any]:
    """Return the data and the law of parts of events; of an event that is masked out no part counts."""
    distribution, address, source = message.distribution, message.address, message.source
    wanted = present
    if message.mask is not None:
        wanted = both(message.mask.reshape(*np.shape(message.mask), *(1,) * len(distribution.event_shape)), present)
    bound = partly_observed(distribution, wanted, message.scale, address, source)
    raw, wanted = (as_known(array) for array in (value, wanted))
    if raw.shape == np.shape(present):
        raw = with_filling(raw, distribution, wanted)
    return checked_observation(raw, distribution, address, message.plates, source), bound


_BOUNDED = (constraints.simplex, constraints.corr_cholesky, constraints.corr_matrix)


def _refuse_improper(message: SampleMessage) -> None:
    """Refuse to drop the density of a choice on an unbounded set, which would leave a measure of infinite mass."""
    if isinstance(message.distribution, BoundLaw) or is_everywhere(message.mask):
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
