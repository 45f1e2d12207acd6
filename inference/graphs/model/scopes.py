"""Scopes: the variables on the axes of the tables of a group, by number (G, r).

Law: a scope that holds a variable twice means the diagonal of its table, so it is the scope without the second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError


def joined(name: str, columns: Sequence[np.ndarray]) -> np.ndarray:
    """Put the variables of each axis side by side (G, r); one that stands alone serves all factors.

    A factor without variables is one number (1, 0).

    Raises: LawfulError for axes with different numbers of variables.

    >>> joined("pair", [np.array([0, 1]), np.array(2)]).tolist()
    [[0, 2], [1, 2]]
    """
    if not columns:
        return np.zeros((1, 0), np.int64)
    sizes = {column.size for column in columns if column.size != 1}
    if len(sizes) > 1:
        shapes = ", ".join(str(c.shape) for c in columns)
        raise LawfulError(
            f"factors {name!r}: the axes of the scope have {shapes} variables: expected as many each, or one for all.",
            site=name,
        )
    count = sizes.pop() if sizes else 1
    return np.stack([np.broadcast_to(c.reshape(-1), (count,)) for c in columns], axis=1).astype(np.int64, copy=False)


def diagonal(
    name: str, numbers: np.ndarray, cards: tuple[int, ...], tables: Any
) -> tuple[np.ndarray, tuple[int, ...], Any]:
    """Take the diagonal of tables (G or 1, K_1, ..., K_r) whose scopes have one variable on two axes.

    Returns: scopes, numbers of states and tables without the later of two such axes.

    Raises: LawfulError where some scopes of the group hold a variable twice and others do not.

    >>> scopes, cards, tables = diagonal("same", np.array([[4, 4]]), (2, 2), np.array([[[1.0, 2.0], [3.0, 4.0]]]))
    >>> scopes.tolist(), cards, tables.tolist()
    ([[4]], (2,), [[1.0, 4.0]])
    """
    xp = np if isinstance(tables, np.ndarray) else jnp
    for later in range(len(cards)):
        for earlier in range(later):
            same = numbers[:, later] == numbers[:, earlier]
            if not same.any():
                continue
            if not same.all():
                raise LawfulError(
                    f"factors {name!r}: some scopes of the group hold a variable twice on axes {earlier} and {later} "
                    f"and others do not. Fix: add those with a repeated variable as a group of their own (factors "
                    f"{', '.join(map(str, np.flatnonzero(same)[:5]))}{', ...' if same.sum() > 5 else ''}).",
                    site=name,
                )
            kept = [axis for axis in range(len(cards)) if axis != later]
            drawn = xp.moveaxis(xp.diagonal(tables, axis1=earlier + 1, axis2=later + 1), -1, earlier + 1)
            return diagonal(name, numbers[:, kept], tuple(cards[k] for k in kept), drawn)
    return numbers, cards, tables
