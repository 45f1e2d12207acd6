"""NaN nearby: a place around a state where the log density is not a number.

Law: looking changes nothing, and where it fails nothing is lost; what is found is such a place, though not the very
one that a proposal led to.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.addresses import Address
from lawful.backends.log_density import scored
from lawful.backends.xla import emit
from lawful.errors import UnsupportedProgramError
from lawful.form import Form
from lawful.form.arguments.arrays import split_arguments
from lawful.interop.density import Density, density

from ...kernels.base.base import initial_state
from ...laws.invalid_weights import meaningless
from ...results.unconstrained import unconstrained

__all__ = ["broken_nearby"]

LANES, AT_ONCE = 256, 8  # directions that are tried at each distance, and how many are scored side by side
DISTANCES = 2.0 ** np.arange(-6, 5)  # in units of the coordinates without bounds
SHARES = 2.0 ** np.arange(-4, 1)  # of the elements that are drawn anew


def broken_nearby(
    form: Form, args: tuple[Any, ...], values: Mapping[Address, Any], seed: int = 0
) -> dict[Address, np.ndarray] | None:
    """Look ever farther from a state: along random directions, or with ever more elements as the prior draws them.

    Args:
        form: the program.
        args: its arguments.
        values: of its choices, by address.
        seed: of the directions.

    Returns: values of the choices at the nearest place found; None where none was.

    >>> import lawful, numpyro.distributions as dist
    >>> def model():
    ...     x = lawful.sample("x", dist.Normal(0.0, 1.0))
    ...     lawful.factor("root", jnp.sqrt(x))
    >>> float(broken_nearby(lawful.trace(model), (), {("x",): 0.1})[("x",)]) < 0
    True
    """
    with suppress(jax.errors.JaxRuntimeError):  # no memory
        try:
            return _found(density(form, *args), values, seed)
        except UnsupportedProgramError:  # choices without coordinates
            return _redrawn(form, args, values, seed)
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


def _redrawn(
    form: Form, args: tuple[Any, ...], values: Mapping[Address, Any], seed: int
) -> dict[Address, np.ndarray] | None:
    states, (parts, score) = emit(initial_state(form)), scored(form)
    inputs, here = split_arguments(args)[0], [jnp.asarray(values[c.address]) for c in parts.choices]

    @jax.jit
    def looked(keys: Any, chosen: Any) -> Any:
        def one(given: Any) -> Any:
            key, anew = given
            fresh = states(key, *inputs)[0]
            mixed = [jnp.where(*parts) for parts in zip(anew, fresh[: len(here)], here, strict=True)]
            return mixed, meaningless(sum(score(inputs, mixed)[:2]))

        return jax.lax.map(one, (keys, chosen), batch_size=AT_ONCE)

    keys, rng = jax.random.split(jax.random.key(seed), LANES), np.random.default_rng(seed)
    for share in SHARES:
        chosen = [rng.random((LANES, *x.shape)) < share for x in here]
        mixed, lost = jax.tree.map(np.asarray, looked(keys, chosen))
        if lost.any():
            return {c.address: np.asarray(x[int(lost.argmax())]) for c, x in zip(parts.choices, mixed, strict=True)}
    return None
