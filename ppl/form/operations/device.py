"""Device: values of the host as arrays of the device."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def device_array(values: Any) -> jax.Array:
    """Put values on the device; for NumPy's arrays nothing is compiled, where `jnp.asarray` compiles for each shape.

    >>> device_array(np.zeros(2)).dtype == jnp.result_type(float)
    True
    """
    if isinstance(values, jax.Array):
        return values
    return jax.device_put(values) if isinstance(values, np.ndarray | np.generic) else jnp.asarray(values)
