"""Packing: beliefs that are many small arrays leave a compiled program as one, and are parted on the host.

Law: nothing is computed. An array that a program returns costs microseconds whatever it holds, so a network of some
dozens of variables would spend as long on handing its beliefs over as on finding them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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

    def packed(self, marginals: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function return all its numbers behind each other."""

        def joined(*args: Any) -> Any:
            log_z, variables, factors = marginals(*args)
            return jnp.concatenate([x.reshape(-1) for x in (log_z, *variables, *factors)])

        return joined

    def unpacked(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """Part what a program returns: views of the vector on the host, where it is known."""
        shapes, count = (*self.families, *self.groups), len(self.families)
        places = tuple(zip(self.ends, self.ends[1:], shapes, strict=False))

        def parted(*args: Any) -> Any:
            vector = program(*args)
            whole = vector if traced(vector) else np.asarray(vector)
            found = [whole[start:end].reshape(shape) for start, end, shape in places]
            return whole[0], tuple(found[:count]), tuple(found[count:])

        return parted


def packing_of(structure: Structure) -> Packing | None:
    """Say where the numbers stand; None where they are too many to be worth it."""
    found = Packing(
        tuple((*f.shape, f.cardinality) for f in structure.families),
        tuple((g.size, *g.cardinalities) for g in structure.groups),
    )
    return found if found.ends[-1] <= SMALL else None
