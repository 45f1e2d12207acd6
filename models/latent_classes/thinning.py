"""Thinning of draws: as many as the memberships of all rows can be held for.

Law: draws that are kept are evenly spaced from the first; where all can be held, all are kept.
"""

from __future__ import annotations

import numpy as np

__all__ = ["kept_draws"]

CELLS = 1 << 24  # memberships that are held: 128 MiB of doubles


def kept_draws(draws: int, rows: int, classes: int, most: int = CELLS) -> np.ndarray:
    """Say which draws are kept, in order (kept,).

    Args:
        draws: how many there are.
        rows: rows, or persons, that have memberships in each draw; times the number of chains.
        classes: number of classes.
        most: memberships that are held.

    >>> kept_draws(9, 10, 2, most=100).tolist(), kept_draws(3, 10, 2).tolist()
    ([0, 2, 4, 6, 8], [0, 1, 2])
    """
    held = max(1, most // (rows * classes))
    return np.arange(draws) if draws <= held else np.linspace(0, draws - 1, held).round().astype(int)
