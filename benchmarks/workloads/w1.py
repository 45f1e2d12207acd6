"""W1: the bootstrap particle filter on a stationary autoregression, observed at every step, the first one included.

x_0 ~ N(m, q^2 / (1 - a^2)), x_t = m + a (x_{t-1} - m) + q e_t; LG (linear Gaussian) y_t = x_t + r n_t, and SV
(stochastic volatility) y_t = exp(x_t / 2) n_t.

Law: both exact filters give the log evidence of the observations; they agree where both are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.workloads.constants import LOG_TWO_PI

STEPS = 1000


@dataclass(frozen=True)
class StateSpace:
    """Constants of one autoregression with its observation."""

    observation: str  # "gaussian": y ~ N(x, noise); "volatility": y ~ N(0, exp(x / 2))
    mean: float
    persistence: float
    scale: float
    noise: float = 1.0

    @property
    def stationary_scale(self) -> float:
        """Standard deviation of x_0, and of every x_t."""
        return self.scale / float(np.sqrt(1 - self.persistence**2))

    def log_likelihood(self, x: np.ndarray, y: float) -> np.ndarray:
        """Log density of one observation at the states x."""
        log_scale = x / 2 if self.observation == "volatility" else np.full_like(x, np.log(self.noise))
        centre = 0.0 if self.observation == "volatility" else x
        return -0.5 * ((y - centre) * np.exp(-log_scale)) ** 2 - log_scale - 0.5 * LOG_TWO_PI


MODELS = {
    "LG": StateSpace(observation="gaussian", mean=0.0, persistence=0.9, scale=1.0, noise=1.0),
    "SV": StateSpace(observation="volatility", mean=-1.0, persistence=0.95, scale=0.25),
}


@cache
def observations(model: str, steps: int = STEPS) -> np.ndarray:
    """The observations of W1: `default_rng(0)`, x_0, then at each t the move (t > 0) and the observation noise.

    >>> observations("LG")[:2].round(6).tolist()
    [0.15634, 1.004923]
    """
    constants = MODELS[model]
    rng = np.random.default_rng(0)
    x = constants.mean + constants.stationary_scale * rng.standard_normal()
    observed = np.empty(steps)
    for t in range(steps):
        if t > 0:
            x = constants.mean + constants.persistence * (x - constants.mean) + constants.scale * rng.standard_normal()
        noise = rng.standard_normal()
        observed[t] = np.exp(x / 2) * noise if model == "SV" else x + constants.noise * noise
    observed.setflags(write=False)
    return observed


def kalman_filter(constants: StateSpace, observed: np.ndarray) -> tuple[float, float]:
    """Exact log evidence and the mean of the last state given all observations, for the Gaussian observation."""
    mean, variance = constants.mean, constants.stationary_scale**2
    log_evidence = 0.0
    for t, y in enumerate(observed):
        if t > 0:
            mean = constants.mean + constants.persistence * (mean - constants.mean)
            variance = constants.persistence**2 * variance + constants.scale**2
        total = variance + constants.noise**2
        log_evidence += -0.5 * (LOG_TWO_PI + np.log(total) + (y - mean) ** 2 / total)
        gain = variance / total
        mean, variance = mean + gain * (y - mean), (1 - gain) * variance
    return float(log_evidence), float(mean)


def point_mass_filter(
    constants: StateSpace, observed: np.ndarray, points: int = 1500, width: float = 9.0
) -> tuple[float, float]:
    """The same by sums over a regular grid of `width` stationary standard deviations on each side of the mean.

    The integrands are smooth and vanish at both ends, so the sums converge faster than any power of the spacing.
    """
    x = constants.mean + constants.stationary_scale * np.linspace(-width, width, points)
    spacing = x[1] - x[0]

    def normal(z: np.ndarray, scale: float) -> np.ndarray:
        return np.exp(-0.5 * (z / scale) ** 2 - 0.5 * LOG_TWO_PI) / scale

    centres = constants.mean + constants.persistence * (x - constants.mean)
    kernel = normal(x[:, None] - centres[None, :], constants.scale) * spacing
    mass = normal(x - constants.mean, constants.stationary_scale) * spacing
    log_evidence = 0.0
    for t, y in enumerate(observed):
        if t > 0:
            mass = kernel @ mass
        mass = mass * np.exp(constants.log_likelihood(x, y))
        total = mass.sum()
        log_evidence += np.log(total)
        mass /= total
    return float(log_evidence), float(mass @ x)
