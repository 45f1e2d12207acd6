"""Standard errors of a fit: observed information and sandwich, carried to reports by the delta method.

Law: with H the Hessian of -l at the maximum and S the scores of persons, `V = H^-1` and `V_r = V S S' V`; errors of
reports are those of their linear form. At an edge or on a kink the coordinates concerned are held, and the errors of
what they decide are NaN with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..fitting.boundaries import Finding
from ..model.reports import Row

__all__ = ["StandardErrors", "no_errors", "standard_errors"]

REFUSED = {"psi": "psi", "phi": "phi", "noise": "residuals", "kink": "mug", "knot": "mug", "gate": "beta"}


class StandardErrors(NamedTuple):
    """Errors of R reported parameters.

    Attributes:
        observed: by observed information (R,).
        robust: by the sandwich (R,).
        covariance: of the reports, by observed information (R, R).
        factor: scaling correction of the likelihood ratio, the mean eigenvalue of H^-1 S S'.
        refused: why some are NaN, in words.
        of_free: covariance of the free vector, 0 for what is held (P, P).
        held: coordinates of it whose errors are refused (P,).
    """

    observed: np.ndarray
    robust: np.ndarray
    covariance: np.ndarray
    factor: float
    refused: list[str]
    of_free: np.ndarray
    held: np.ndarray


def standard_errors(
    hessian: np.ndarray,
    scores: np.ndarray,
    slopes: np.ndarray,
    rows: Sequence[Row],
    findings: Sequence[Finding],
    gated: Callable[[Row], bool],
) -> StandardErrors:
    """Give the errors of reports.

    Args:
        hessian: of the log-likelihood at the maximum (P, P).
        scores: of persons there (P, n).
        slopes: derivatives of the reports by the free vector (R, P).
        rows: what the reports are.
        findings: edges and kinks.
        gated: whether a row belongs to the gate.

    >>> found = standard_errors(np.array([[-4.0]]), np.array([[2.0, -2.0]]), np.array([[3.0]]),
    ...     [Row(1, "mueta0", "level")], [], lambda row: False)
    >>> found.observed.tolist(), found.robust.round(6).tolist(), found.factor
    ([1.5], [2.12132], 2.0)
    """
    held = {place for finding in findings for place in finding.places}
    keep = np.array([place for place in range(len(hessian)) if place not in held], int)
    apart = np.isin(np.arange(len(hessian)), keep, invert=True)
    refused = [finding.message for finding in findings]
    information = -hessian[np.ix_(keep, keep)]
    scale = np.sqrt(np.maximum(np.diagonal(information), 1e-300))
    if not np.isfinite(information).all() or np.linalg.eigvalsh(information / np.outer(scale, scale))[0] < 1e-10:
        refused.append(
            "the information matrix is not positive, so no Wald error can be had: some direction is flat, or the climb "
            "did not end at a maximum. Remedy: more starts, fewer classes, or the penalised fit (penalty='weak')."
        )
        return no_errors(len(rows), len(hessian), *refused)._replace(held=apart)
    inverse = np.linalg.inv(information / np.outer(scale, scale)) / np.outer(scale, scale)
    meat = scores[keep] @ scores[keep].T
    linear = slopes[:, keep]
    covariance = linear @ inverse @ linear.T
    robust = linear @ inverse @ meat @ inverse @ linear.T
    known = np.ones(len(rows))
    for finding in findings:
        for i, row in enumerate(rows):
            of_gate = finding.kind == "gate"  # odds are told against a reference, so that one bound touches all
            if gated(row) == of_gate and (of_gate or row.label == finding.label):
                known[i] = np.nan if row.parameter.startswith(REFUSED[finding.kind]) else known[i]
    observed, sandwich = (known * np.sqrt(np.maximum(np.diagonal(each), 0.0)) for each in (covariance, robust))
    factor = float(np.trace(inverse @ meat) / len(keep))
    of_free = np.zeros_like(hessian)
    of_free[np.ix_(keep, keep)] = inverse
    return StandardErrors(observed, sandwich, covariance * np.outer(known, known), factor, refused, of_free, apart)


def no_errors(reports: int, size: int, *refused: str) -> StandardErrors:
    """Give no error of any report, with the reasons.

    >>> no_errors(1, 2, "the fit is no maximum").observed.tolist()
    [nan]
    """
    nothing, unknown = np.full(reports, np.nan), [np.full((count,) * 2, np.nan) for count in (reports, size)]
    return StandardErrors(nothing, nothing, unknown[0], float("nan"), [*refused], unknown[1], np.ones(size, bool))
