"""W6 in NumPy, double precision: the same algorithm with whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workloads import EXPERT_ITERATIONS, EXPERT_RIDGE, EXPERTS, GATE_RIDGE, experts, experts_start

PACKAGES = ("numpy",)
DTYPE = "float64"


def em(x: np.ndarray, y: np.ndarray, gate: np.ndarray, lines: np.ndarray, deviations: np.ndarray, rounds: int) -> float:
    """Log likelihood at the last E-step; gate and lines (p, K)."""
    n, p = x.shape
    k, free, value = len(deviations), len(deviations) - 1, 0.0
    gate, lines, deviations = gate.copy(), lines.copy(), deviations.copy()
    for _ in range(rounds):
        scores = x @ gate
        scores -= scores.max(axis=1, keepdims=True)
        weights = np.exp(scores)
        norm = weights.sum(axis=1, keepdims=True)
        weights /= norm
        error = (y[:, None] - x @ lines) / deviations
        term = scores - np.log(norm) - 0.5 * error**2 - np.log(deviations) - 0.5 * np.log(2 * np.pi)
        top = term.max(axis=1, keepdims=True)
        responsibilities = np.exp(term - top)
        total = responsibilities.sum(axis=1, keepdims=True)
        responsibilities /= total
        value = float((np.log(total) + top).sum())
        for j in range(k):
            weighted = x * responsibilities[:, j : j + 1]
            lines[:, j] = np.linalg.solve(weighted.T @ x + EXPERT_RIDGE * np.eye(p), weighted.T @ y)
            mass = responsibilities[:, j].sum()
            deviations[j] = np.sqrt(responsibilities[:, j] @ (y - x @ lines[:, j]) ** 2 / mass)
        curvature = np.empty((free * p, free * p))
        for i in range(free):
            for j in range(i, free):
                bend = weights[:, i] * ((i == j) - weights[:, j])
                block = (x * bend[:, None]).T @ x
                curvature[i * p : (i + 1) * p, j * p : (j + 1) * p] = block
                curvature[j * p : (j + 1) * p, i * p : (i + 1) * p] = block
        slope = (responsibilities - weights)[:, :free].T @ x
        turn = np.linalg.solve(curvature + GATE_RIDGE * np.eye(free * p), slope.reshape(-1))
        gate[:, :free] += turn.reshape(free, p).T
    return value


def build(settings: dict[str, Any]) -> Callable[[int], dict[str, float]]:
    """The contestant for one variant."""
    (x, y), start = experts(), experts_start()
    assert len(start.deviations) == EXPERTS

    def run(i: int) -> dict[str, float]:
        return {"log_likelihood": em(x, y, start.gate, start.lines, start.deviations, EXPERT_ITERATIONS)}

    return run
