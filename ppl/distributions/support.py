"""Support: whether values lie in one, and that of the elements of a value.

Law: a discrete support has whole numbers only; some of numpyro's constraints, as of counts with a total, do not ask.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def of_elements(support: Any) -> Any:
    """Look through what makes elements one event: the constraint that each of them has.

    >>> from numpyro.distributions import constraints
    >>> of_elements(constraints.independent(constraints.positive, 1))
    Positive(lower_bound=0.0)
    """
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support


def contains(support: Any, value: Any) -> Any:
    """Tell for each element of the batch whether it lies in a support.

    Args:
        support: a constraint of numpyro.
        value: (batch, event).

    >>> import numpyro.distributions as dist
    >>> counts = dist.Multinomial(4, jnp.array([0.5, 0.5])).support
    >>> contains(counts, jnp.array([[1.0, 3.0], [1.5, 2.5]])).tolist()
    [True, False]
    """
    inside = support(value)
    if not getattr(support, "is_discrete", False) or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        return inside
    math = np if isinstance(value, np.ndarray | np.generic) else jnp
    axes = tuple(range(-support.event_dim, 0))
    return inside & math.all(value == math.floor(value), axis=axes) if axes else inside & (value == math.floor(value))
