"""Packing: beliefs that are many small arrays leave a compiled program as one, and are parted on the host.

Law: nothing is computed. An array that a program returns costs microseconds whatever it holds, so a network of some
dozens of variables would spend as long on handing its beliefs over as on finding them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

import jax.numpy as jnp
import numpy as np

from .evidence import traced
from .structure import Structure

SMALL = 1 << 16  # entries of all beliefs; more are worth an array each


@dataclass(frozen=True)
class Packing:
    """Where the log of the mass and the beliefs of a structure stand in a vector.

    Attributes:
        families: shapes of the beliefs of each family.
        groups: shapes of those of each group.
    """

    families: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Where each array ends, the log of the mass first."""
        return tuple(accumulate(map(math.prod, ((), *self.families, *self.groups))))

    def pack(self, log_z: Any, variables: Any, factors: Any) -> Any:
        """Put all numbers behind each other."""
        return jnp.concatenate([x.reshape(-1) for x in (log_z, *variables, *factors)])

    def unpack(self, vector: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
        """Part them again: views of the vector on the host, where it is known."""
        whole = vector if traced(vector) else np.asarray(vector)
        shapes, count = (*self.families, *self.groups), len(self.families)
        found = [
            whole[start:end].reshape(shape) for start, end, shape in zip(self.ends, self.ends[1:], shapes, strict=False)
        ]
        return whole[0], tuple(found[:count]), tuple(found[count:])


def packing_of(structure: Structure) -> Packing | None:
    """Say where the numbers stand; None where they are too many to be worth it."""
    found = Packing(
        tuple((*f.shape, f.cardinality) for f in structure.families),
        tuple((g.size, *g.cardinalities) for g in structure.groups),
    )
    return found if found.ends[-1] <= SMALL else None
