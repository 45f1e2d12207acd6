"""Batched laws: independent copies of a law along new axes, for particles, chains, and a plain `jax.vmap` over a site.

Law: the copies, called lanes, are independent given their parameters, and each has the law of the scalar draw; a draw
of all of them takes one key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .protocol import Law, of_base, product_grid


@of_base("dtype", "innermost", "element_values", "scaled", "known_arrays", "masked", "leaves_out", "unobserved", "own")
@dataclass(frozen=True)
class LanesLaw(Law):
    """Independent copies of a law along new leading axes: what a plain `jax.vmap` over a site means.

    `laned[i]` says which of the lane axes parameter i has, outermost first; it lacks the others.
    """

    base: Any
    lanes: tuple[int, ...] = ()
    laned: tuple[tuple[bool, ...], ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Lanes, then the shape of one copy."""
        return (*self.lanes, *self.base.shape)

    @property
    def atoms(self) -> int | None:
        """Values of one copy to the power of the number of copies."""
        return None if self.base.atoms is None else self.base.atoms ** math.prod(self.lanes)

    @property
    def label(self) -> str:
        """Name for people."""
        return f"{self.base.label}{list(self.lanes)}"

    def draw(self, key: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Draw all copies with one key."""
        return draw_lanes(self.base, key, self.lanes, parameters, self.laned)

    def text(self, parameters: Sequence[str]) -> str:
        """Write the law of one copy, and how many there are."""
        return f"{self.base.text(parameters)} for each of {list(self.lanes)}"

    def log_prob(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Sum the scores of the copies."""
        return jnp.sum(self.mapped(self.base.log_prob, 1)(value, *parameters))

    @property
    def units(self) -> tuple[int, ...]:
        """Lanes, then the parts of one copy."""
        return (*self.lanes, *self.base.units)

    def log_prob_units(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Score each independent part."""
        return self.mapped(self.base.log_prob_units, 1)(value, *parameters)

    def element_masses(self, *parameters: jax.Array) -> jax.Array:
        """Log masses (values, *shape): of each value, for each element of each copy."""
        return jnp.moveaxis(self.mapped(self.base.element_masses)(*parameters), len(self.lanes), 0)

    def inside(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each copy whether it lies in the support."""
        return self.mapped(self.base.inside, 1)(value, *parameters)

    def broken(self, value: jax.Array, *parameters: jax.Array) -> jax.Array:
        """Tell for each number of each copy whether it is none where data are wanted."""
        return self.mapped(self.base.broken, 1)(value, *parameters)

    def enumerate(self, *parameters: jax.Array) -> tuple[jax.Array, jax.Array]:
        """List the product over the copies."""
        values, masses = self.mapped(self.base.enumerate)(*parameters)
        return product_of_lanes(values, masses, self.lanes)

    def finite_elements(self, site_of: Callable[[Any], Any], *parameters: Any) -> Any:
        """List the elements of all copies, one copy after the other."""
        parts = []
        for cell in np.ndindex(*self.lanes):
            own = [np.asarray(p)[tuple(compress(cell, flag))] for p, flag in zip(parameters, self.laned, strict=True)]
            parts.append(self.base.finite_elements(site_of, *own))

        def assemble(chosen: Sequence[Any]) -> Any:
            rest = iter(chosen)
            values = [join(list(islice(rest, len(elements)))) for elements, join in parts]
            return np.asarray(values, self.dtype).reshape(self.shape)

        return [element for elements, _ in parts for element in elements], assemble

    def mapped(self, function: Any, values: int = 0) -> Any:
        """Map a function of some values, which have all lanes, and of a copy's parameters over the lanes."""
        for depth in reversed(range(len(self.lanes))):
            axes = *(0,) * values, *(0 if flag[depth] else None for flag in self.laned)
            function = jax.vmap(function, in_axes=axes, axis_size=self.lanes[depth])
        return function


def product_of_lanes(values: jax.Array, masses: jax.Array, lanes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Combine per-lane lists (*lanes, atoms, *shape), (*lanes, atoms) into the list of joint values."""
    copies, atoms = math.prod(lanes), masses.shape[len(lanes)]
    shape = values.shape[len(lanes) + 1 :]
    values = values.reshape((copies, atoms, *shape))
    masses = masses.reshape((copies, atoms))
    grid = product_grid(atoms, copies)
    which = jnp.arange(copies)
    joint = values[which, grid].reshape((len(grid), *lanes, *shape))
    return joint, jnp.sum(masses[which, grid], axis=1, dtype=masses.dtype)


def draw_lanes(
    law: Any, key: jax.Array, lanes: tuple[int, ...], parameters: Sequence[jax.Array], laned: Sequence[tuple[bool, ...]]
) -> jax.Array:
    """Draw independent copies along new leading axes with one key."""
    count = math.prod(lanes)
    if count == 0:
        return jnp.zeros((*lanes, *law.shape), law.dtype)

    def flat(parameter: jax.Array, flag: tuple[bool, ...]) -> jax.Array:
        if not any(flag):
            return parameter
        own = parameter.shape[sum(flag) :]
        spread = parameter[tuple(slice(None) if has else None for has in flag)]
        return jnp.broadcast_to(spread, (*lanes, *own)).reshape((count, *own))

    drawn = law.draw_side_by_side(key, count, tuple(map(any, laned)), *map(flat, parameters, laned))
    return drawn.reshape((*lanes, *law.shape))
