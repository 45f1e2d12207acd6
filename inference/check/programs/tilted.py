"""Tilted: a proposal for every finite site of a random program, with other probabilities on the same values.

Law: it gives a positive probability to every value that the site can take.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from lawful.addresses import Address
from lawful.distributions.law import law_of


def tilted(address: Address, prior: Any) -> Any:
    """Give value k a probability in proportion to k + 1; None for a site whose values are not 0, 1, ...

    >>> [round(p, 3) for p in tilted(("x",), dist.Bernoulli(0.9)).probs.tolist()]
    [0.333, 0.667]
    """
    law = law_of(prior)[0]
    values = law.element_values
    if values is None or not np.array_equal(values, np.arange(len(values))):
        return None
    shares = np.arange(1.0, len(values) + 1) / (len(values) * (len(values) + 1) / 2)
    return dist.Categorical(probs=jnp.broadcast_to(jnp.asarray(shares), (*law.shape, len(values))))
