"""Device: values of the host as arrays of the device."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def device_array(values: Any) -> jax.Array:
    """Put values on the device; for NumPy's arrays nothing is compiled, where `jnp.asarray` compiles for each shape.

    What is put there is a copy: JAX takes over the memory of an array as it lies, and its owner may write to it later.

    >>> device_array(np.zeros(2)).dtype == jnp.result_type(float)
    True
    """
    if isinstance(values, jax.Array):
        return values
    return jax.device_put(np.array(values)) if isinstance(values, np.ndarray | np.generic) else jnp.asarray(values)
