"""W6: expectation maximisation of a mixture of four experts, 10^5 rows of ten covariates and an intercept.

Gate softmax(x gamma), experts N(x b_k, s_k^2). One iteration: responsibilities; weighted least squares with a ridge of
1e-6, and variances; one full Newton step of the multinomial gate at the weights of the E-step, the last class being the
reference, with a ridge of 1e-3. Twenty iterations.

Law: the log likelihood at the 20th E-step is a fixed number in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

EXPERTS, EXPERT_ROWS, EXPERT_COLUMNS, EXPERT_ITERATIONS = 4, 100_000, 11, 20
EXPERT_RIDGE, GATE_RIDGE = 1e-6, 1e-3
EXPERTS_LOG_LIKELIHOOD = -151_990.0511026


@dataclass(frozen=True)
class Start:
    """Where EM starts: gate (p, K), lines (p, K), standard deviations (K,)."""

    gate: np.ndarray
    lines: np.ndarray
    deviations: np.ndarray


@cache
def experts() -> tuple[np.ndarray, np.ndarray]:
    """Columns (n, 11), ones first, and answers (n,): `default_rng(7)`.

    >>> x, y = experts()
    >>> float(x[0, 1].round(6)), float(y[0].round(6))
    (0.00123, -3.845004)
    """
    rng = np.random.default_rng(7)
    x = np.column_stack([np.ones(EXPERT_ROWS), rng.standard_normal((EXPERT_ROWS, EXPERT_COLUMNS - 1))])
    gate = rng.standard_normal((EXPERT_COLUMNS, EXPERTS))
    lines = 2 * rng.standard_normal((EXPERT_COLUMNS, EXPERTS))
    deviations = np.array([0.5, 0.8, 1.0, 0.6])
    scores = np.exp(x @ gate - (x @ gate).max(axis=1, keepdims=True))
    below = np.cumsum(scores / scores.sum(axis=1, keepdims=True), axis=1)
    label = (rng.random(EXPERT_ROWS)[:, None] > below).sum(axis=1)
    y = (x * lines.T[label]).sum(axis=1) + deviations[label] * rng.standard_normal(EXPERT_ROWS)
    for array in (x, y):
        array.setflags(write=False)
    return x, y


@cache
def experts_start() -> Start:
    """The start: an even gate, least squares and normals of `default_rng(0)`, the deviation of all answers."""
    x, y = experts()
    shape = EXPERT_COLUMNS, EXPERTS
    lines = np.linalg.lstsq(x, y, rcond=None)[0][:, None] + np.random.default_rng(0).standard_normal(shape)
    return Start(np.zeros(shape), lines, np.full(EXPERTS, y.std()))
