"""W4: eight schools, non-centred: mu ~ N(0, 5), tau ~ HalfCauchy(5), t_j ~ N(0, 1), y_j ~ N(mu + tau t_j, scale_j).

Law: the moments are those of sums over a grid of mu and log tau, given which each t_j is normal.
"""

from __future__ import annotations

import numpy as np


def schools() -> tuple[np.ndarray, np.ndarray]:
    """Observations and scales of W4.

    >>> schools()[0].sum()
    np.float64(70.0)
    """
    return np.array([28.0, 8, -3, 7, -1, 1, 18, 12]), np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def schools_moments(points: int = 801) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and standard deviations of mu, log tau and t, by sums over a grid of mu and log tau.

    Given these, t_j is normal. The integrand is smooth and vanishes at the ends; log tau has the lower tail of tau.
    """
    y, s = schools()
    mu, log_tau = np.linspace(-30, 40, points)[:, None], np.linspace(-14, 7, 2 * points)[None]
    tau = np.exp(log_tau)
    log_mass = -0.5 * (mu / 5) ** 2 - np.log1p((tau / 5) ** 2) + log_tau
    for observed, scale in zip(y, s):
        variance = scale**2 + tau**2
        log_mass = log_mass - 0.5 * np.log(variance) - 0.5 * (observed - mu) ** 2 / variance
    mass = np.exp(log_mass - log_mass.max())
    mass /= mass.sum()
    pairs = [(np.sum(mass * x), np.sum(mass * x**2)) for x in (mu, log_tau)]
    for observed, scale in zip(y, s):
        variance = 1 / (1 + (tau / scale) ** 2)
        mean = variance * tau * (observed - mu) / scale**2
        pairs.append((np.sum(mass * mean), np.sum(mass * (variance + mean**2))))
    first, second = np.array(pairs).T
    return first, np.sqrt(second - first**2)


SCHOOLS_MEAN, SCHOOLS_SCALE = (tuple(float(x) for x in part) for part in schools_moments())
