"""Samplers from elsewhere: an exported density in the form in which BlackJAX, flowMC and nutpie take theirs.

Law: all get the log density of the program in coordinates without bounds, Jacobian included, and its gradient; starts
are those of `Density.initial`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import LawfulError

type Density = Any  # that of the module `density`, whose methods call these functions


def coordinates_of_axes(density: Density) -> dict[str, np.ndarray]:
    """Number the elements of each named axis.

    Raises: LawfulError where an axis has two lengths, naming the sites.
    """
    found: dict[str, tuple[str, int]] = {}
    for name, dims in density.dims.items():
        for dim, size in zip(dims, density.shapes[name], strict=True):
            other, length = found.setdefault(dim, (name, size))
            if length != size:
                raise LawfulError(
                    f"the axis '{dim}' has length {length} at site '{other}' and {size} at site '{name}'. Fix: name "
                    "the axes apart, by plates of different names.",
                    sites=(other, name), dim=dim,
                )  # fmt: skip
    return {dim: np.arange(size) for dim, (_, size) in found.items()}


def blackjax_of(density: Density, key: jax.Array) -> tuple[Callable[..., jax.Array], dict[str, jax.Array]]:
    """Give the log density on positions, and a first position."""
    return density.logp, density.initial(key)


def flowmc_of(density: Density, key: jax.Array, chains: int) -> tuple[Callable[[jax.Array, Any], jax.Array], jax.Array]:
    """Give the log density on vectors, which takes data and reads none, and a first vector of every chain."""
    if not isinstance(chains, int | np.integer) or chains < 1:
        raise LawfulError(f"to_flowmc: chains: expected an integer of 1 or more, got {chains!r}.")

    def logpdf(vector: jax.Array, data: Any) -> jax.Array:
        return density.logp_vector(vector)

    starts = [density.ravel(density.initial(jax.random.fold_in(key, chain)))[0] for chain in range(chains)]
    return logpdf, jnp.stack(starts)


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

    def score(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = density._judge(jnp.asarray(vector))
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
