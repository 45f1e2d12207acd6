"""Way back: how far a map's second application ends from the start, and the ratio where it ends there.

Law: on the points from which a map leads back it is an involution, so to reject the others keeps the measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ...laws.invalid_weights import meaningless


@dataclass(frozen=True)
class Distance:
    """The largest distance of values from others, relative to 1 + |value|, over what is active.

    Operands: all values, all others, all flags.

    >>> float(Distance((True,))(jnp.array(3.0), jnp.array(3.5), jnp.array(True)))
    0.125
    """

    continuous: tuple[bool, ...]

    def __call__(self, *operands: jax.Array) -> jax.Array:
        """Compare."""
        n, dtype = len(self.continuous), jnp.result_type(float)
        worst = jnp.zeros((), dtype)
        for continuous, old, new, flag in zip(
            self.continuous, operands[:n], operands[n : 2 * n], operands[2 * n :], strict=True
        ):
            off = jnp.abs(new - old) / (1 + jnp.abs(old)) if continuous else jnp.where(new == old, 0.0, jnp.inf)
            there = flag.reshape(flag.shape + (1,) * (old.ndim - flag.ndim))
            off = jnp.where(there & (new != old), off.astype(dtype), 0.0)
            worst = jnp.maximum(worst, jnp.max(off, initial=0.0))
        return worst


@dataclass(frozen=True)
class Checked:
    """The ratio where the map leads back to the start, and what is wrong elsewhere."""

    tolerance: float

    def __call__(
        self, ratio: jax.Array, error: jax.Array, matched: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Give the ratio, whether there is no way back, and whether the coordinates differ in number."""
        returns, possible = error <= self.tolerance, ratio > -jnp.inf
        allowed = jnp.where(returns & matched, ratio, jnp.where(meaningless(ratio), ratio, -jnp.inf))
        return allowed, possible & ~returns, possible & returns & ~matched


@dataclass(frozen=True)
class Declared:
    """The user's log Jacobian, as a function of all values."""

    function: Callable[..., Any]
    choices: tuple[str, ...]
    drawn: tuple[str, ...]
    split: int

    def __call__(self, *values: jax.Array) -> jax.Array:
        """Ask the user."""
        groups = (dict(zip(self.choices, values[: self.split], strict=True)),
                  dict(zip(self.drawn, values[self.split :], strict=True)))  # fmt: skip
        return jnp.asarray(self.function(*groups), jnp.result_type(float)).reshape(())
