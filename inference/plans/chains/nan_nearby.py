"""Nearby: a place around a state where the log density is not a number, for kernels whose steps are not run again.

Law: looking changes nothing, and where it fails nothing is lost; what is found is such a place, though not the very
one that a proposal led to.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.interop.density import Density, density

from ...laws.meaningless import meaningless
from ...results.unconstrained import unconstrained

__all__ = ["broken_nearby"]

LANES, AT_ONCE = 256, 8  # directions that are tried at each distance, and how many are scored side by side
DISTANCES = 2.0 ** np.arange(-6, 5)  # in units of the coordinates without bounds


def broken_nearby(
    form: Form, args: tuple[Any, ...], values: Mapping[Address, Any], seed: int = 0
) -> dict[Address, np.ndarray] | None:
    """Look ever farther from a state, along random directions.

    Args:
        form: the program.
        args: its arguments.
        values: of its choices, by address.
        seed: of the directions.

    Returns: values of the choices at the nearest place found; None where none was, or a choice has no coordinates.

    >>> import lawful, numpyro.distributions as dist
    >>> def model():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.factor("root", jnp.sqrt(x))
    >>> float(broken_nearby(lawful.trace(model), (), {("x",): 0.1})[("x",)]) < 0
    True
    """
    try:
        return _found(density(form, *args), values, seed)
    except (UnsupportedProgramError, jax.errors.JaxRuntimeError):  # choices without coordinates; no memory
        return None


def _found(found: Density, values: Mapping[Address, Any], seed: int) -> dict[Address, np.ndarray] | None:
    names = {choice.address: choice.name for choice in found.choices}
    draws = {name: np.asarray(values[address])[None, None] for address, name in names.items()}
    here, _ = unconstrained(found.form, found.args, draws)
    start, unravel = found.ravel({name: jnp.asarray(array[0, 0]) for name, array in here.items()})
    directions = np.random.default_rng(seed).normal(size=(LANES, start.size))
    directions = directions[np.argsort(np.linalg.norm(directions, axis=1))]

    @jax.jit
    def broken(distance: Any, rows: Any) -> jax.Array:
        return jax.lax.map(lambda row: meaningless(found.logp_vector(start + distance * row)), rows, batch_size=AT_ONCE)

    for distance in DISTANCES:
        lost = np.asarray(broken(distance, directions))
        if lost.any():
            there = found.constrain(
                unravel(start + distance * jnp.asarray(directions[int(lost.argmax())], start.dtype))
            )
            return {address: np.asarray(there[name]) for address, name in names.items()}
    return None
