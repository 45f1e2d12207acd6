"""Boundaries: where a fit lies on an edge of its parameters or on a kink, errors by curvature mean nothing.

Law: every finding names class, parameter and remedy; an inner, smooth maximum has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..model.parameters import LARGEST_GATE, LEAST_NOISE, Model, unpack
from .objective import Problem

__all__ = ["Finding", "findings_at", "seen_from_within", "smallest_eigenvalues"]

SINGULAR = 1e-4  # smallest eigenvalue of a correlation matrix
AT_TIME = 1e-6  # distance of a knot from an observed time, in ranges of time
AT_BOUND = 1e-3  # distance of a knot from its bounds, as a share of their distance
REMEDY = "Remedy: the penalised fit (penalty='weak'), or the Bayesian fit"


class Finding(NamedTuple):
    """An edge or a kink.

    Attributes:
        label: the class, from 1 in the order of the report.
        kind: "psi", "phi", "noise", "kink", "knot" or "gate".
        value: the eigenvalue, the distance, or the coefficient.
        places: coordinates of the free vector that it holds.
        message: what it means, and what to do.
    """

    label: int
    kind: str
    value: float
    places: tuple[int, ...]
    message: str


def smallest_eigenvalues(chol: Any) -> np.ndarray:
    """Give the smallest eigenvalue of the correlation matrix of C C', for each class (K,).

    >>> smallest_eigenvalues(np.array([[[2.0, 0.0], [1.0, 0.0]], np.eye(2)])).round(12).tolist()
    [0.0, 1.0]
    """
    covariance = np.asarray(chol) @ np.swapaxes(np.asarray(chol), 1, 2)
    if not covariance.shape[1]:
        return np.ones(len(covariance))
    spread = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    safe = np.where(spread > 0, spread, 1.0)
    correlation = covariance / safe[:, :, None] / safe[:, None]
    return np.maximum(np.linalg.eigvalsh(correlation)[:, 0], 0.0)


def seen_from_within(chol: Any, model: Model, times: np.ndarray) -> np.ndarray:
    """Give factors of the covariance of growth factors whose level is that in the middle of the times (K, Q, Q).

    The level of a line at a far origin is one with its slope, whatever the persons; a spline has its level at the knot.

    >>> far = np.array([[[10.0, 0.1], [-1.0, 0.0]]])  # at time 0, of persons whose levels at 10 vary by 0.1
    >>> smallest_eigenvalues(seen_from_within(far, Model("LIN", 1), np.array([10.0]))).round(12).tolist()
    [1.0]
    """
    if model.curve not in ("LIN", "QUAD"):
        return np.asarray(chol)
    middle = 0.5 * (times.min() + times.max())
    shift = np.array([[1.0, middle, middle**2], [0.0, 1.0, 2 * middle], [0.0, 0.0, 1.0]])
    return shift[: model.form.q, : model.form.q] @ np.asarray(chol)


def findings_at(free: np.ndarray, problem: Problem, model: Model, order: Sequence[int]) -> list[Finding]:
    """Look for edges and kinks at a point.

    Args:
        free: the point (P,).
        problem: what was climbed.
        model: which mixture.
        order: which class is reported first, second, and so on.

    Returns: what was found, class by class.
    """
    at = jax.tree.map(np.asarray, unpack(free, model, problem.bounds))
    times = np.asarray(problem.panel.t)[np.asarray(problem.panel.mask) > 0]
    random = model.random_places
    psi = smallest_eigenvalues(seen_from_within(at.chol, model, times)[:, random])
    phi = smallest_eigenvalues(at.x_chol) if model.joint else np.ones(model.n_classes)
    found = []
    for label, k in enumerate(order, start=1):
        for kind, name, least, block in (
            ("psi", "growth factors", psi[k], "chol"),
            ("phi", "covariates", phi[k], "x_chol"),
        ):
            if least < SINGULAR:
                places = tuple(model.places(block)[k].tolist())
                found.append(Finding(label, kind, float(least), places, (
                    f"class {label}: the covariance of its {name} is singular (smallest eigenvalue of the correlations "
                    f"{least:.1e}), so Wald errors of {kind} are refused. {REMEDY}."
                )))  # fmt: skip
        if at.noise[k] < 10 * LEAST_NOISE:
            found.append(Finding(label, "noise", float(at.noise[k]), (int(model.places("noise")[k]),), (
                f"class {label}: the residual variance is at its bound, as where curves meet all outcomes, so its Wald "
                f"error is refused. {REMEDY}, or fewer classes."
            )))  # fmt: skip
        if model.curve == "BLS" and not model.fixed:
            found += _of_knot(label, float(at.shape[k, 0]), int(model.places("shape")[k, 0]), times, problem, model)
    gate = np.asarray(free)[model.places("gate")]
    largest = np.abs(LARGEST_GATE * np.tanh(gate / LARGEST_GATE)).max(axis=1)
    for k in range(model.n_classes - 1):
        if largest[k] > 0.95 * LARGEST_GATE:
            label = list(order).index(k + 1) + 1
            found.append(Finding(label, "gate", float(largest[k]), tuple(model.places("gate")[k].tolist()), (
                f"class {label}: a coefficient of the gate is at its bound, as where a covariate separates "
                f"the classes, so Wald errors of the gate are refused. {REMEDY}."
            )))  # fmt: skip
    return found


def _of_knot(label: int, knot: float, place: int, times: np.ndarray, problem: Problem, model: Model) -> list[Finding]:
    low, high = float(problem.bounds.low), float(problem.bounds.high)
    edge = min(knot - low, high - knot) / (high - low)
    if edge < AT_BOUND:
        return [Finding(label, "knot", edge, (place,), (
            f"class {label}: the knot is at its bound, so its Wald error is refused; beyond it a slope would drop out. "
            "Remedy: fewer classes, a linear curve, or other knot_bounds."
        ))]  # fmt: skip
    distance = float(np.abs(times - knot).min())
    if distance < AT_TIME and not model.intrinsic:
        return [Finding(label, "kink", distance, (place,), (
            f"class {label}: the knot is on an observed time, a kink of the likelihood, so its Wald error is refused; "
            "other errors take it as known. Remedy: a profile of the likelihood, or the Bayesian fit."
        ))]  # fmt: skip
    return []
