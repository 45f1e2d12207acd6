"""W7: n latent and n observed scalar sites, x_0 ~ N(0, 1), x_i ~ N(x_{i-1} / 2, 1), y_i ~ N(x_i, 1), at x_i = 0.1.

Law: the log density and its gradient are those of the joint normal.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmarks.workloads.constants import LOG_TWO_PI

CHAIN_VALUE = 0.1


def chain_data(latents: int) -> np.ndarray:
    """The observations of W7.

    >>> chain_data(3).tolist()
    [-1.0, 0.0, 1.0]
    """
    return np.linspace(-1.0, 1.0, latents)


@cache
def chain_answers(latents: int) -> dict[str, float]:
    """Log density of the chain at x_i = 0.1, and the sum of its gradient there.

    >>> round(chain_answers(10)["log_density"], 6)
    -20.482058
    """
    x, y = np.full(latents, CHAIN_VALUE), chain_data(latents)
    steps = x - 0.5 * np.concatenate([[0.0], x[:-1]])
    log_density = -0.5 * float(steps @ steps + (y - x) @ (y - x)) - latents * LOG_TWO_PI
    gradient = (y - x) - steps + 0.5 * np.concatenate([steps[1:], [0.0]])
    return {"log_density": log_density, "gradient_sum": float(gradient.sum())}
