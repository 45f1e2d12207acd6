"""Hidden parameters: arrays that a distribution of NumPyro keeps in its structure, among what is static.

Numbers of trials are such: of a multinomial law each row of data has its own, and they may be traced.

Law: a distribution is rebuilt from its structure and its leaves as it was; all of its arrays are leaves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

from ..errors import UndrawableError

__all__ = ["HIDDEN", "Structure", "check_bounded", "opened"]

HIDDEN = (dist.MultinomialProbs, dist.MultinomialLogits, dist.DirichletMultinomial)


@dataclass(frozen=True)
class _Place:
    """Where a hidden parameter stands, among the others."""

    number: int


@dataclass(frozen=True)
class Structure:
    """What is static of a distribution: with all leaves it is rebuilt.

    Attributes:
        tree: of the fields that NumPyro takes for data.
        hidden: number of further leaves, which stand after those of the tree.
    """

    tree: Any
    hidden: int = 0

    @property
    def num_leaves(self) -> int:
        """Number of leaves."""
        return int(self.tree.num_leaves) + self.hidden

    def rebuilt(self, leaves: Sequence[Any]) -> Any:
        """Put leaves in their places."""
        distribution = jax.tree.unflatten(self.tree, leaves[: self.tree.num_leaves])
        if not self.hidden:
            return distribution
        held = leaves[self.tree.num_leaves :]
        return _replaced(distribution, lambda value: held[value.number] if isinstance(value, _Place) else value)


def opened(distribution: Any) -> tuple[list[Any], Structure]:
    """Split a distribution into leaves, hidden ones last, and its structure.

    >>> leaves, structure = opened(dist.Multinomial(np.array([3, 4]), np.array([0.5, 0.5])))
    >>> structure.hidden, leaves[-1].tolist(), structure.rebuilt(leaves).total_count_max
    (1, [3, 4], 4)
    """
    held: list[Any] = []

    def hold(value: Any) -> Any:
        if not isinstance(value, jax.Array | np.ndarray):
            return value
        held.append(value)
        return _Place(len(held) - 1)

    shown = _replaced(distribution, hold) if _hides(distribution) else distribution
    leaves, tree = jax.tree.flatten(shown)
    return [*leaves, *held], Structure(tree, len(held))


def check_bounded(distribution: Any) -> None:
    """Raise where counts cannot be drawn, since no program with fixed shapes can hold all of their trials.

    >>> check_bounded(dist.Multinomial(3, np.array([0.5, 0.5])))
    """
    if distribution.total_count_max is None and isinstance(distribution.total_count, jax.core.Tracer):
        raise UndrawableError(
            f"{type(distribution).__name__}: total_count is known when the program runs only, and has no bound, so "
            "nothing can be drawn. Fix: total_count_max=, a number that it never exceeds; what is observed needs none."
        )


def _inner(distribution: Any) -> dict[str, Any]:
    """Give the distributions that one is made of, by the names of its fields."""
    names = sorted(type(distribution).gather_pytree_data_fields())
    return {name: part for name in names if isinstance(part := vars(distribution).get(name), dist.Distribution)}


def _hides(distribution: Any) -> bool:
    return type(distribution) in HIDDEN or any(map(_hides, _inner(distribution).values()))


def _replaced(distribution: Any, new: Callable[[Any], Any]) -> Any:
    """Copy a distribution, with other numbers of trials."""
    found = copy.copy(distribution)
    vars(found).update({name: _replaced(part, new) for name, part in _inner(distribution).items()})
    if type(distribution) in HIDDEN:
        count = distribution.total_count
        if found.total_count_max is None and isinstance(count, np.ndarray | jax.Array):
            if not isinstance(count, jax.core.Tracer) and count.size:
                found.total_count_max = int(np.max(count))
        found.total_count = new(count)
    return found
