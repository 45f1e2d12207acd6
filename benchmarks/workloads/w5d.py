"""W5d: count factors exp(-(sum y - k)^2) on bags of binary variables, the messages to every member.

Log odds are 1.5 times normals; k is a share of the mean count, 0.8 (nine standard deviations off it at 2048 members) or
0.4 (27 of them).

Law: the exact messages are those of the quadratic recursion in double precision on the same numbers in single
precision, tilted so that nothing underflows: h + t and g - t s in place of h and g is the same factor for every t.
"""

from __future__ import annotations

from functools import cache

import numpy as np

BAGS = {8: 7812, 64: 976, 512: 122, 2048: 30}
CHECKED_BAGS = 3


def bags(members: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Log odds (bags, members) and counts wanted (bags,): `default_rng(5)`, in single precision.

    >>> round(float(bags(8, 0.8)[0][0, 0]), 6)
    -1.202897
    """
    h = 1.5 * np.random.default_rng(5).normal(size=(BAGS[members], members))
    k = np.round(share * (1 / (1 + np.exp(-h))).sum(axis=1))
    return h.astype(np.float32), k.astype(np.float32)


def count_potentials(members: int, k: np.ndarray) -> np.ndarray:
    """The log potentials of all counts (bags, members + 1)."""
    return -((np.arange(members + 1, dtype=np.float32) - k[:, None]) ** 2)


@cache
def count_messages(members: int, share: float) -> np.ndarray:
    """Exact messages, as log odds, to the members of the first bags."""
    h, k = bags(members, share)
    return np.stack([_recursion(h[b].astype(float), float(k[b])) for b in range(CHECKED_BAGS)])


def _recursion(h: np.ndarray, k: float) -> np.ndarray:
    size, s, low, high = len(h), np.arange(len(h) + 1), -100.0, 100.0
    g = -((s - k) ** 2)
    for _ in range(60):
        tilt = (low + high) / 2
        w = np.exp(g - tilt * s - np.max(g - tilt * s))
        above = (1 / (1 + np.exp(-h - tilt))).sum() > (w * s).sum() / w.sum()
        low, high = (low, tilt) if above else (tilt, high)
    p, q = 1 / (1 + np.exp(-h - tilt)), 1 / (1 + np.exp(h + tilt))
    after, before, found = np.exp(g - tilt * s - np.max(g - tilt * s)), np.zeros((size + 1, size + 1)), np.zeros(size)
    before[0, 0] = 1
    for i in range(size):
        before[i + 1] = q[i] * before[i]
        before[i + 1, 1:] += p[i] * before[i, :-1]
    for i in reversed(range(size)):
        found[i] = tilt + np.log(before[i, :-1] @ after[1:]) - np.log(before[i] @ after)
        after = q[i] * after + np.append(p[i] * after[1:], 0.0)
    return found
