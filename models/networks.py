"""Small networks of causes, whose answers are known by hand.

Law: enumeration of the program is the sum over the table of the network.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

__all__ = ["sprinkler"]

WET = ((0.0, 0.9), (0.8, 0.98))  # rows: no rain, rain; columns: sprinkler off, on


def sprinkler(wet: Any) -> jax.Array:
    """Ask whether it rained, from whether the grass is wet (Pearl 1988; the numbers are those of monad-bayes).

    Args: wet: whether the grass is wet; None draws it.

    Returns: whether it rained.

    >>> from lawful import inference
    >>> exact = inference.enumerate(sprinkler)(1)
    >>> round(float(jnp.exp(exact.log_evidence)), 6), round(exact.marginal("rain")[1], 6)
    (0.4974, 0.493366)
    """
    rain: jax.Array = lawful.sample("rain", dist.Bernoulli(0.3))
    on = lawful.sample("sprinkler", dist.Bernoulli(jnp.where(rain == 1, 0.1, 0.4)))
    lawful.sample("wet", dist.Bernoulli(jnp.array(WET)[rain, on]), obs=wet)
    return rain
