"""Random keys: the key that a user gives, in any form that JAX knows, as one typed key.

Law: the integer n, `jax.random.key(n)` and `jax.random.PRNGKey(n)` give the same draws.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import LawfulError


def one_key(key: Any, what: str = "key") -> jax.Array:
    """Read a user's key: a typed key, an old-style key of `jax.random.PRNGKey`, or a seed as an integer.

    Args:
        key: what was given.
        what: for whom, in errors.

    Raises: LawfulError for anything else, as many keys, or data in the place of the key.

    >>> one_key(7) == one_key(jax.random.key(7)) == one_key(jax.random.PRNGKey(7))
    Array(True, dtype=bool)
    """
    if isinstance(key, (int, np.integer)):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array | np.ndarray):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return jnp.asarray(key)
        if key.dtype == np.uint32 and key.shape == jax.eval_shape(jax.random.PRNGKey, 0).shape:
            return jax.random.wrap_key_data(jnp.asarray(key))
    shape = f" of {key.dtype} and shape {np.shape(key)}" if hasattr(key, "dtype") else ""
    raise LawfulError(
        f"{what}: expected one typed key, jax.random.key(0), or an integer seed, got {type(key).__name__}{shape}. "
        "Fix: the key comes first, before the arguments of the program, as plan(jax.random.key(0), y)."
    )
