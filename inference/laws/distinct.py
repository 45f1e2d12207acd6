"""Distinct: how many different items a list of ancestors names, which is what a resampling left of a population.

Law: the count is that of the set of the indices, exactly, in every order that they stand in.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Int


@dataclass(frozen=True)
class Distinct:
    """Counts the distinct ancestors.

    Attributes:
        items: how many there are to choose from.
        ascending: whether ancestors come in ascending order: then neighbours tell, and nothing has to be marked.

    >>> int(Distinct(5)(jnp.array([3, 0, 3, 1]))), int(Distinct(5, ascending=True)(jnp.array([0, 1, 3, 3])))
    (3, 3)
    """

    items: int
    ascending: bool = False

    def __call__(self, ancestors: Int[Array, " M"]) -> Int[Array, ""]:
        """Count."""
        if self.ascending:
            return 1 + jnp.sum(ancestors[1:] != ancestors[:-1], dtype=jnp.int32)
        return jnp.sum(jnp.zeros(self.items, bool).at[ancestors].set(True), dtype=jnp.int32)
