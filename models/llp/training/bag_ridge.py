"""Bag ridge: a linear score fitted to the sums of bags, with the penalty chosen by leaving out one bag at a time.

Law: with y = pi + beta (x - mean) + noise, the sum over a bag has the signal and the noise of B rows both, so that
(S - B pi) / sqrt(B) = beta sum(x - mean) / sqrt(B) + noise of the same variance in every bag. The penalty minimises the
exact mean of squared errors on bags left out, from the residuals of one fit divided by one minus their leverage.

A bag of random rows is therefore worth about one label: the same on bags of one, as many as there are bags, is the
yardstick for any learner from counts.

Reference: Allen (1974), The relationship between variable selection and data augmentation (PRESS).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from lawful.errors import ObservationError

from ..bags.bags import Bags
from .fitted import Fitted, check_rows

PENALTIES = tuple(10.0 ** np.linspace(-1, 5, 25))
CLIP = 8.0
LEAST, MOST = 0.01, 0.99  # probabilities that a linear score may reach


@dataclass(frozen=True)
class BagRidge:
    """A linear score from the sums of bags; deterministic, whatever the seed.

    Columns are standardised on the rows in bags and clipped to -8..8. `details` has `coefficients` (d,) of the
    standardised columns, the `penalty`, and the mean squared errors of left-out bags `errors` (25,).

    >>> bags = Bags.from_ids([0, 0, 1, 1, 2, 2], counts=[0, 2, 1])
    >>> X = np.array([[-1.0], [-2.0], [1.0], [2.0], [0.5], [-0.5]])
    >>> BagRidge().fit(X, bags).decision_function(X).argsort().tolist()
    [1, 0, 5, 4, 2, 3]
    """

    penalties: tuple[float, ...] = PENALTIES

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and the counts of their bags."""
        X = check_rows(X, bags, "BagRidge")
        rows = np.flatnonzero(bags.memberships)
        mean, sd = X[rows].mean(axis=0, dtype=float), X[rows].std(axis=0, dtype=float)
        sd = np.where(sd > 1e-12, sd, np.inf)  # a column without variation gets no weight
        Z, target = bag_sums(standardised(X, mean, sd), bags)
        beta, penalty, errors = ridge(Z, target, np.array(self.penalties))
        score = partial(_score, mean=mean, sd=sd, beta=beta)
        centre = float(score(X[rows]).mean())
        logits = partial(_logits, score=score, rate=float(bags.base_rate), centre=centre)
        return Fitted(score, logits, {"coefficients": beta, "penalty": penalty, "errors": errors})


def standardised(X: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return (X - mean) / sd within -8..8."""
    return np.clip((X - mean) / sd, -CLIP, CLIP)


def bag_sums(X: np.ndarray, bags: Bags) -> tuple[np.ndarray, np.ndarray]:
    """Return sum x / sqrt(B) (n_b, d) and (S - B pi) / sqrt(B) (n_b,) of the bags with a known count."""
    if bags.counts.ndim > 1 or not bags.known.any():
        raise ObservationError(
            f"BagRidge: {bags} has no bag with a known count of ones (n_b,). Fix: give counts of one class."
        )
    part = bags.take(bags.known & (bags.sizes > 0))
    scale = np.sqrt(part.sizes.astype(float))
    sums = part.membership.astype(float) @ X
    return sums / scale[:, None], (part.estimates - part.sizes * part.base_rate) / scale


def ridge(Z: np.ndarray, target: np.ndarray, penalties: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """Return coefficients, the penalty with the least error on left-out rows, and the errors of all penalties."""
    U, singular, Vt = np.linalg.svd(Z, full_matrices=False)
    shrink = singular**2 / (singular**2 + penalties[:, None])
    projected = U.T @ target
    residual = target - (shrink * projected) @ U.T
    leverage = shrink @ (U**2).T
    errors = np.mean((residual / np.maximum(1 - leverage, 1e-12)) ** 2, axis=1)
    best = int(np.argmin(errors))
    along = singular / (singular**2 + penalties[best])
    return Vt.T @ (along * projected), float(penalties[best]), errors


def _score(X: np.ndarray, mean: np.ndarray, sd: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return standardised(np.asarray(X), mean, sd) @ beta


def _logits(X: np.ndarray, score: partial[np.ndarray], rate: float, centre: float) -> np.ndarray:
    chance = np.clip(rate + score(X) - centre, LEAST, MOST)
    return np.log(chance) - np.log1p(-chance)
