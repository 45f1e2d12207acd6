"""Packing: beliefs that are many small arrays leave a compiled program as one, and are parted on the host.

Law: nothing is computed. An array that a program returns costs microseconds whatever it holds, so a network of some
dozens of variables would spend as long on handing its beliefs over as on finding them.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from .evidence import traced
from .structure import Structure

SMALL = 1 << 16  # entries of all beliefs; more are worth an array each


class Packing(NamedTuple):
    """Where the beliefs of a structure stand in a vector.

    Attributes:
        families: shapes of the beliefs of each family.
        groups: shapes of those of each group.
    """

    families: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(map(math.prod, (*self.families, *self.groups)))

    def pack(self, variables: Any, factors: Any) -> Any:
        """Put all beliefs behind each other."""
        return jnp.concatenate([x.reshape(-1) for x in (*variables, *factors)])

    def unpack(self, vector: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Part them again: views of the vector on the host, where it is known."""
        whole = vector if traced(vector) else np.asarray(vector)
        found, start = [], 0
        for shape in (*self.families, *self.groups):
            end = start + math.prod(shape)
            found.append(whole[start:end].reshape(shape))
            start = end
        return tuple(found[: len(self.families)]), tuple(found[len(self.families) :])


def packing_of(structure: Structure) -> Packing | None:
    """Say where the beliefs stand; None where they are none, or too large to be worth it."""
    found = Packing(
        tuple((*f.shape, f.cardinality) for f in structure.families),
        tuple((g.size, *g.cardinalities) for g in structure.groups),
    )
    return found if found.families and found.size <= SMALL else None
