"""Nutpie model: an exported density as nutpie takes it.

Law: nutpie gets the log density of the program in coordinates without bounds, Jacobian included, and its gradient;
starts are those of `Density.initial`.
"""

from __future__ import annotations

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import LawfulError

type Density = Any  # that of the module `density`, whose method calls this function


def nutpie_of(density: Density) -> Any:
    """Make the model of nutpie."""
    try:
        from_pyfunc = importlib.import_module("nutpie.compiled_pyfunc").from_pyfunc
    except ImportError as error:
        raise LawfulError("to_nutpie: nutpie is not installed. Fix: pip install 'lawful[nutpie]'.") from error
    if not jax.config.read("jax_enable_x64"):
        raise LawfulError(
            "to_nutpie: nutpie computes in float64. Fix: jax.config.update('jax_enable_x64', True) before the density "
            "is made."
        )
    names = list(density.names)
    origin, unravel = density.ravel()
    expand = jax.jit(lambda vector: density.constrain(unravel(vector)))
    judge = jax.jit(jax.value_and_grad(density.logp_vector))

    def score(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = judge(jnp.asarray(vector))
        return float(value), np.asarray(gradient, np.float64)

    def values(vector: np.ndarray) -> dict[str, np.ndarray]:
        found = expand(jnp.asarray(vector))
        return {name: np.asarray(found[name]) for name in names}  # nutpie wants them in the order of its variables

    def start(seed: int) -> np.ndarray:
        key = jax.random.key(int(seed) % (1 << 32))
        return np.asarray(density.ravel(density.initial(key))[0], np.float64)

    return from_pyfunc(
        len(origin), lambda: score, lambda seed1, seed2, chain: values,
        [np.dtype(density.dtypes[name]) for name in names], [density.shapes[name] for name in names], names,
        coords={dim: _labels(x) for dim, x in density.coords.items()}, dims=density.dims, make_initial_point_fn=start,
    )  # fmt: skip


def _labels(values: np.ndarray) -> np.ndarray:
    """Write labels in the types that nutpie takes; those that have none become numbers."""
    types = {"U": "object", "M": "datetime64[ns]", "i": "int64", "u": "int64", "f": "float64", "b": "bool"}
    if values.dtype.kind in types:
        return values.astype(types[values.dtype.kind])
    return values if all(isinstance(v, str) for v in values) else np.arange(len(values))
