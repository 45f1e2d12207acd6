"""Spread: a course of chains that lie on the devices of a mesh, a part of them on each.

Law: where chains lie changes no step; what a checkpoint gives back is spread again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ..sharding.mesh import spread_over
from .course import Course

__all__ = ["SpreadCourse"]


@dataclass(frozen=True, eq=False)
class SpreadCourse:
    """A course whose state is spread along its first axis.

    Attributes:
        course: what is run.
        mesh: the devices, all of them of this process.
        chains: how many chains; arrays with so many rows are those of the chains.
    """

    course: Course
    mesh: Mesh
    chains: int

    def __getattr__(self, name: str) -> Any:
        """All else is that of the course."""
        return getattr(self.course, name)

    def begin(self) -> Any:
        """Return the state before the first step."""
        return self._spread(self.course.begin())

    def advance(self, state: Any, phase: int, steps: int, into: Sequence[np.ndarray]) -> Any:
        """Take some steps."""
        return self.course.advance(self._spread(state), phase, steps, into)

    def _spread(self, state: Any) -> Any:
        def put(leaf: Any) -> Any:
            own = jnp.ndim(leaf) and len(leaf) == self.chains and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            there = isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) == self.mesh.size
            return spread_over(self.mesh, [leaf])[0] if own and not there else leaf

        return jax.tree.map(put, state)
