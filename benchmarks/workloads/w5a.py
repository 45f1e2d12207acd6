"""W5a: Potts grids, unary scores ~ N(0, 1) in single precision, neighbours drawn to be equal.

Law: the marginals are those of the same sweeps of all messages, with damping 1/2, in double precision.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

COUPLING = 0.5


@cache
def potts_scores(side: int, states: int) -> np.ndarray:
    """Unary scores of W5a (L, L, K): `default_rng(3)`, in single precision.

    >>> [round(x, 6) for x in potts_scores(64, 2)[0, 0].tolist()]
    [2.040919, -2.555665]
    """
    return np.random.default_rng(3).normal(size=(side, side, states)).astype(np.float32)


@cache
def potts_marginals(side: int, states: int, sweeps: int) -> np.ndarray:
    """Marginals (L, L, K) after some sweeps of all messages with damping 1/2, in double precision."""
    own = potts_scores(side, states).astype(float)
    down, right = np.zeros((side - 1, side, states)), np.zeros((side, side - 1, states))
    messages = [down, down.copy(), right, right.copy()]  # to the next row, to the one before, likewise for columns

    def gathered() -> np.ndarray:
        total = own.copy()
        for part, message in zip((total[1:], total[:-1], total[:, 1:], total[:, :-1]), messages, strict=True):
            part += message
        return total

    for _ in range(sweeps):
        total = gathered()
        sources = (total[:-1], total[1:], total[:, :-1], total[:, 1:])
        new = []
        for source, back in zip(sources, (messages[1], messages[0], messages[3], messages[2]), strict=True):
            weight = np.exp(source - back)
            out = np.log(weight.sum(axis=-1, keepdims=True) + (math.exp(COUPLING) - 1) * weight)
            new.append(out - out.max(axis=-1, keepdims=True))
        messages = [0.5 * (a + b) for a, b in zip(new, messages, strict=True)]
    weight = np.exp(gathered() - gathered().max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)
