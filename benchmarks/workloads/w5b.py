"""W5b: a hidden Markov model of 100 states and 10,000 observations y_t ~ N(m_{z_t}, 1), means spread over [-10, 10].

Rows of the transition matrix ~ Dirichlet(0.3), the start ~ Dirichlet(1).

Law: the answers are those of the rescaled forward-backward recursion in double precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from benchmarks.workloads.constants import LOG_TWO_PI

HIDDEN_STATES, HIDDEN_STEPS = 100, 10_000
HIDDEN_LOG_LIKELIHOOD = -30895.0207089554


@dataclass(frozen=True)
class Hidden:
    """Start (K,), transition matrix (K, K), means of the states (K,), observations (T,)."""

    start: np.ndarray
    transition: np.ndarray
    means: np.ndarray
    observed: np.ndarray

    def node_scores(self) -> np.ndarray:
        """Log densities of the observations in each state (T, K)."""
        return -0.5 * (self.observed[:, None] - self.means) ** 2 - 0.5 * LOG_TWO_PI


@cache
def hidden() -> Hidden:
    """Model and data of W5b: `default_rng(4)`, the matrix, the start, the path by `choice`, then the noise.

    >>> hidden().observed[:1].round(6).tolist()
    [-10.059886]
    """
    rng = np.random.default_rng(4)
    transition = rng.dirichlet(np.full(HIDDEN_STATES, 0.3), size=HIDDEN_STATES)
    start = rng.dirichlet(np.ones(HIDDEN_STATES))
    means = np.linspace(-10.0, 10.0, HIDDEN_STATES)
    path = np.empty(HIDDEN_STEPS, dtype=int)
    path[0] = rng.choice(HIDDEN_STATES, p=start)
    for t in range(1, HIDDEN_STEPS):
        path[t] = rng.choice(HIDDEN_STATES, p=transition[path[t - 1]])
    return Hidden(start, transition, means, means[path] + rng.standard_normal(HIDDEN_STEPS))


@cache
def hidden_answers() -> tuple[float, np.ndarray]:
    """Log likelihood and marginals (T, K) of W5b, by the rescaled forward-backward recursion in float64."""
    model = hidden()
    scores = model.node_scores()
    top = scores.max(axis=1)
    weight = np.exp(scores - top[:, None])
    forward, backward, logs = np.empty_like(weight), np.ones_like(weight), []
    for t, row in enumerate(weight):
        raw = row * (model.start if t == 0 else forward[t - 1] @ model.transition)
        logs.append(math.log(raw.sum()))
        forward[t] = raw / raw.sum()
    for t in range(len(weight) - 1, 0, -1):
        raw = model.transition @ (weight[t] * backward[t])
        backward[t - 1] = raw / raw.max()
    joint = forward * backward
    return math.fsum([*logs, *top]), joint / joint.sum(axis=1, keepdims=True)
