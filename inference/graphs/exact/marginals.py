"""Marginals of all tables and the log of the mass, as one vector, parted for each family and each group.

Law: nothing is computed. An array that a program returns costs microseconds whatever it holds, so a network of some
dozens of variables would spend as long on handing its beliefs over as on finding them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..model.evidence import traced
from ..model.structure import Structure
from .elimination import Marginals

SMALL = 1 << 16  # entries of all beliefs that leave a program as one array; more are worth an array each


@dataclass(frozen=True)
class Layout:
    """How the beliefs of a structure stand in a vector.

    Attributes:
        families: shapes of those of each family `(*shape, K)`.
        groups: shapes of those of each group (G, K_1, ..., K_r).
    """

    families: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]

    @cached_property
    def places(self) -> list[tuple[int, int, tuple[int, ...]]]:
        """Where the beliefs of each family and each group begin and end, and their shape."""
        shapes = (*self.families, *self.groups)
        ends = [0, *accumulate(map(math.prod, shapes))]
        return list(zip(ends, ends[1:], shapes, strict=False))

    def parted(self, beliefs: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Give the beliefs of each family, and of each group."""
        found = [beliefs[start:end].reshape(shape) for start, end, shape in self.places]
        return tuple(found[: len(self.families)]), tuple(found[len(self.families) :])

    def leaving(self, found: Marginals) -> Any:
        """Put what leaves a program into one vector, the log of the mass first, where it is few numbers."""
        if self.places and self.places[-1][1] > SMALL:
            return found.log_total, *self.parted(found.beliefs)
        xp = np if isinstance(found.beliefs, np.ndarray) else jnp
        return xp.concatenate([found.log_total.reshape(1), found.beliefs])

    def arrived(self, given: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
        """Give the log of the mass and the beliefs; where they are known, as views of a vector on the host."""
        if isinstance(given, tuple):
            return given
        whole = given if traced(given) else np.asarray(given)
        return whole[0], *self.parted(whole[1:])


@lru_cache(maxsize=256)
def layout_of(structure: Structure) -> Layout:
    """Say how the beliefs of a structure stand in a vector.

    >>> from ..model.structure import Family
    >>> layout_of(Structure((Family("z", (2,), 2, 0),), ())).parted(np.arange(4))
    ((array([[0, 1],
           [2, 3]]),), ())
    """
    return Layout(
        tuple((*f.shape, f.cardinality) for f in structure.families),
        tuple((g.size, *g.cardinalities) for g in structure.groups),
    )
