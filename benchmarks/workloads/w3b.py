"""W3b: a mixture with its labels, m_k ~ N(-3, 0, 3; 1), z_i ~ Categorical(0.3, 0.3, 0.4), y_i ~ N(m_{z_i}, 1).

Law: the posterior of the means, the labels summed out, is that of sums over a grid.
"""

from __future__ import annotations

from functools import cache

import numpy as np

LABELLED = 100
MIXTURE_WEIGHT, MIXTURE_PRIOR = (0.3, 0.3, 0.4), (-3.0, 0.0, 3.0)
MIXTURE_START = (-2.2, 0.3, 2.5)

# Posterior of the means of W3b, the labels summed out; `mixture_moments` computes them again.
MIXTURE_MEAN, MIXTURE_SCALE = (-2.19262, 0.32991, 2.42497), (0.23637, 0.33538, 0.26039)


@cache
def mixture() -> np.ndarray:
    """The observations of W3b: `default_rng(2)`, labels, then normals around -2.2, 0.3 and 2.6.

    >>> mixture()[:2].round(6).tolist()
    [-2.877886, -3.02116]
    """
    rng = np.random.default_rng(2)
    labels = rng.choice(3, LABELLED, p=MIXTURE_WEIGHT)
    observed = rng.normal(np.array([-2.2, 0.3, 2.6])[labels], 1.0)
    observed.setflags(write=False)
    return observed


def mixture_starts(chains: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of W3b: the means (chain, component), all alike, and uniform labels (chain, observation)."""
    labels = np.random.default_rng(1).integers(0, 3, (chains, LABELLED))
    return np.tile(MIXTURE_START, (chains, 1)), labels.astype(np.int32)


def mixture_moments(points: int = 90, ordered: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of the means of W3b, by sums over a grid of +-4 around (-2.3, 0.2, 2.6).

    The integrand is smooth and vanishes at the ends, so the sums converge faster than any power of the spacing. With
    `ordered` they are those given that the means are in order: 0.7 % of the posterior has two of them exchanged.
    """
    grids = [centre + np.linspace(-4, 4, points) for centre in (-2.3, 0.2, 2.6)]
    prior = [np.exp(-0.5 * (grid - m) ** 2) for grid, m in zip(grids, MIXTURE_PRIOR)]
    first, second, third = (
        w * np.exp(-0.5 * (mixture() - grid[:, None]) ** 2) for w, grid in zip(MIXTURE_WEIGHT, grids)
    )
    rest = second[:, None] + third
    log_mass = np.array([np.log(one + rest).sum(axis=2) for one in first])
    mass = np.exp(log_mass - log_mass.max()) * np.einsum("i,j,k->ijk", *prior)
    if ordered:
        low, middle, high = np.meshgrid(*grids, indexing="ij")
        mass = mass * ((low < middle) & (middle < high))
    sides = [mass.sum(axis=tuple(b for b in range(3) if b != a)) / mass.sum() for a in range(3)]
    mean = np.array([side @ grid for side, grid in zip(sides, grids)])
    return mean, np.array([side @ (grid - m) ** 2 for side, grid, m in zip(sides, grids, mean)]) ** 0.5
