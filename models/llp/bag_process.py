"""Bag process: a Gaussian process on rows that is seen through the sums of bags, exactly, averaged over its kernels.

Law: y_i = pi + f(x_i) + noise, f a Gaussian process whose share R^2 of the variance of y is unknown. Sums over bags of
independent rows, (S - B pi) / sqrt(B), then have a normal law with noise of one known total variance in every bag:
whatever B is, prior and noise together have the variance of y. Each kernel and each share has an exact evidence, and
scores are posterior means weighted by it, so no penalty is chosen, and no bag is held back.

With few bags the prior decides, and it comes from the covariates alone: see `feature_maps`. The rarer label is expected
among unusual rows: the prior mean of f has a correlation of (1 - 2 pi) / 4 with the last feature, and f has a tenth
more variance along it. Turning all labels around turns all scores around. `out_of_bag` scores each row by what all
other bags say, exactly, without a second fit.

Features are computed and summed in single precision, so rows in another order give the same scores to some five digits.

These two numbers are those of 27 data sets that methods are not compared on, see `unusual.py` beside the benchmark:
the correlation is 0.25 (1 - 2 pi) there, with a standard deviation of 0.2, and the rarer label is the more unusual one
in 81 % of them. With some hundred bags they hardly matter.

Reference: Rasmussen and Williams (2006), Gaussian processes for machine learning, sections 2.2, 5.4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import logsumexp

from lawful import inference
from lawful.errors import ObservationError

from .bags.bags import Bags
from .bags.members import ROWS, Members, few_bags, members_of, parts
from .feature_maps import FeatureMap, Kernel, feature_map, scaling
from .training.fitted import Fitted, check_rows

__all__ = ["KERNELS", "SHARES", "BagProcess"]

WAVES = ((0.0, 1.4), (0.0, 2.0), (0.25, 2.0), (0.5, 3.0), (1.0, 4.0))
KERNELS = (Kernel(0.5), Kernel(1.0), *(Kernel(power, length) for power, length in WAVES))
SHARES = tuple(step / 50 for step in range(1, 41))
LEAST, MOST = 0.005, 0.995  # probabilities that a score may reach
NEGLIGIBLE = 1e-9  # posterior probability of what is left out of an average


@dataclass(frozen=True)
class BagProcess:
    """A Gaussian process fitted to the sums of bags.

    `details` has the posterior probability of each kernel (`kernels`), the posterior mean of R^2 (`share`), the
    `log_evidence` and the function `out_of_bag` of the rows it was fitted to.

    Attributes:
        kernels: equally likely before the counts are seen.
        features: number of waves for each kernel that is not linear.
        shares: values of R^2.
        prior: of R^2, a beta law; by default of mean 0.375 and standard deviation 0.16.
        unusual: correlation of the rarer label with the unusualness of rows that is expected of a label that is never
            seen, and how much more variance f has along it.

    >>> X = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    >>> y = (X[:, 0] > 0).astype(int)
    >>> fitted = BagProcess(features=50).fit(X, Bags.from_labels(y, np.arange(400) // 8))
    >>> z = fitted.decision_function(X)
    >>> bool(np.corrcoef(z, y)[0, 1] > 0.6)
    True
    """

    kernels: tuple[Kernel, ...] = KERNELS
    features: int = 1000
    shares: tuple[float, ...] = SHARES
    prior: tuple[float, float] = (3.0, 5.0)
    unusual: tuple[float, float] = (0.25, 0.1)

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and the counts of their bags; rows in no bag are not looked at."""
        found = self.evidence(X, bags, seed=seed)
        X, sides, weights, rate = np.asarray(X, np.float32), found.sides, found.weights, found.rate
        # Functions of the module, not closures, so that a fit can be stored.
        score = partial(_score, sides=sides, weights=weights, rate=rate)
        out_of_bag = partial(_out_of_bag, X=X, bags=found.bags, sides=sides, weights=weights, rate=rate)
        return Fitted(score, partial(_logits, score=score), found.told | {"out_of_bag": out_of_bag})

    def evidence(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Evidence:
        """Weigh every kernel and every share by the counts."""
        X = np.asarray(check_rows(X, bags, "BagProcess"), np.float32)
        if bags.counts.ndim > 1 or not np.any(bags.known & (bags.sizes > 0)):
            raise ObservationError(
                f"BagProcess: {bags} has no bag with a known count of ones (n_b,). Fix: give counts of one class."
            )
        part = bags.take(bags.known & (bags.sizes > 0))
        least = 0.5 / part.sizes.sum()
        rate = float(np.clip(part.base_rate, least, 1 - least))
        target = _target(part, rate)
        scaled, shares = scaling(X[bags.memberships > 0]), np.array(self.shares)
        sides = []
        for number, kernel in enumerate(self.kernels):
            phi = feature_map(scaled, kernel, self.features, seed * len(self.kernels) + number)
            sides.append(_solve(phi, X, part, target, rate, shares, self.unusual))
        joint = np.array([side.fit.log_evidence for side in sides]) + log_prior(shares, self.prior) - np.log(len(sides))
        evidence = float(logsumexp(joint))
        weights = np.exp(joint - evidence)  # (kernels, shares)
        return Evidence(tuple(sides), shares, weights, evidence, part, rate)


def log_prior(shares: np.ndarray, prior: tuple[float, float]) -> np.ndarray:
    """Return log probabilities of shares before counts are seen (R,).

    >>> np.exp(log_prior(np.array([0.1, 0.4]), (3.0, 5.0))).round(3).tolist()
    [0.24, 0.76]
    """
    level = (prior[0] - 1) * np.log(shares) + (prior[1] - 1) * np.log1p(-shares)
    return level - logsumexp(level)


class _Side(NamedTuple):
    """The fit with one kernel: a regression of the centred sums of bags, Z, on the means of their counts.

    Nothing here grows with the number of bags.
    """

    phi: FeatureMap
    mean: np.ndarray
    size: np.ndarray  # what centred features are divided by
    ahead: float  # prior mean of the last feature's weight
    fit: inference.ShareRegression

    def score(self, X: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Return the posterior mean of f of rows (n,), averaged over shares with weights w (R,)."""
        beta = self.fit.weights(w)
        beta[-1] += w.sum() * self.ahead
        beta /= self.size
        found = [self.phi(X[part], float) @ beta for part in parts(len(X))]
        return np.concatenate(found) - self.mean @ beta if len(X) else np.zeros(0)

    def left_out(self, X: np.ndarray, bags: Bags, target: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Return the same from all bags but the row's own; a row in several bags has the mean over these."""
        found, number = self.score(X, w), np.maximum(bags.memberships, 1)
        for few in few_bags(bags):
            members = members_of(self.phi, X, bags, few)
            sums, root = _sums(members(), few, self.phi.width)[0], np.sqrt(bags.sizes[few].astype(float))[:, None]
            Z = (sums / root - root * self.mean) / self.size
            change = self.fit.without_each(Z, target[few] - self.ahead * Z[:, -1], w)
            moved = (change / self.size).astype(np.float32)
            level = moved @ self.mean.astype(np.float32)
            for rows, owner, features in members():
                shift = np.einsum("nd,nd->n", features, moved[owner]) - level[owner]
                np.subtract.at(found, rows, shift / number[rows])
        return found


class Evidence(NamedTuple):
    """What counts say of kernels and shares: probabilities `weights` (kernels, R) of the `sides` and `shares` (R,)."""

    sides: tuple[_Side, ...]
    shares: np.ndarray
    weights: np.ndarray
    log_evidence: float
    bags: Bags
    rate: float

    @property
    def told(self) -> dict[str, Any]:
        """What a fit tells of it."""
        share = float(self.weights.sum(axis=0) @ self.shares)
        return {"kernels": self.weights.sum(axis=1), "share": share, "log_evidence": self.log_evidence}


def _score(X: np.ndarray, sides: tuple[_Side, ...], weights: np.ndarray, rate: float) -> np.ndarray:
    X = np.asarray(X, np.float32)
    return rate + np.sum([side.score(X, w) for side, w in _weighty(sides, weights)], axis=0)


def _logits(X: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return _logit(score(X))


def _out_of_bag(X: np.ndarray, bags: Bags, sides: tuple[_Side, ...], weights: np.ndarray, rate: float) -> np.ndarray:
    target = _target(bags, rate)
    return _logit(rate + np.sum([s.left_out(X, bags, target, w) for s, w in _weighty(sides, weights)], axis=0))


def _weighty(sides: tuple[_Side, ...], weights: np.ndarray) -> Iterator[tuple[_Side, np.ndarray]]:
    return ((side, w) for side, w in zip(sides, weights, strict=True) if w.sum() > NEGLIGIBLE)


def _target(bags: Bags, rate: float) -> np.ndarray:
    return (bags.estimates - bags.sizes * rate) / np.sqrt(bags.sizes)


def _solve(
    phi: FeatureMap, X: np.ndarray, bags: Bags, target: np.ndarray, rate: float, shares: np.ndarray,
    unusual: tuple[float, float],
) -> _Side:  # fmt: skip
    """Sum features over bags, and regress their counts on the sums.

    The product of Z with itself is added up over bags, with a first guess of the mean taken off, so that large bags
    lose no digits; Z itself is kept where there are fewer bags than features.
    """
    total, width, small = int(bags.sizes.sum()), phi.width, bags.n_bags < phi.width
    guess = phi(X[bags.members[:: max(1, total // ROWS)]]).mean(axis=0, dtype=float)
    summed, square, product, seen = np.zeros(width), 0.0, np.zeros((width, width)), np.zeros(width)
    kept = []
    for few in few_bags(bags):
        sums, squares = _sums(members_of(phi, X, bags, few)(), few, width)
        summed, square = summed + sums.sum(axis=0), square + squares
        root = np.sqrt(bags.sizes[few].astype(float))[:, None]
        sums = sums / root - root * guess
        if small:
            kept.append(sums)
        else:
            product += sums.T @ sums
            seen += sums.T @ target[few]
    mean = summed / total
    # A kernel's features share one size. The last has variance one, and its weight a tenth of what they have together.
    spread = max(square / total - float(mean[:-1] @ mean[:-1]), 1e-12) ** 0.5
    correlation, more = unusual
    size = np.append(np.full(width - 1, spread), max(more, 1e-12) ** -0.5) * (1 + more) ** 0.5
    ahead = correlation * (1 - 2 * rate) * (rate * (1 - rate)) ** 0.5 * size[-1]
    moved, root = mean - guess, np.sqrt(bags.sizes.astype(float))
    given: dict[str, Any] = {"variance": rate * (1 - rate), "shares": shares}
    if small:
        Z = (np.concatenate(kept) - root[:, None] * moved) / size
        return _Side(phi, mean, size, ahead, inference.share_regression(Z, target - ahead * Z[:, -1], **given))
    product = (product - total * np.outer(moved, moved)) / np.outer(size, size)
    seen = (seen - moved * (root @ target)) / size
    square = target @ target - 2 * ahead * seen[-1] + ahead**2 * product[-1, -1]
    seen = seen - ahead * product[:, -1]
    return _Side(
        phi, mean, size, ahead, inference.share_regression_of_sums(product, seen, square, bags.n_bags, **given)
    )


def _sums(members: Iterable[Members], few: slice, width: int) -> tuple[np.ndarray, float]:
    """Return the sums of features over bags (few, D), and that of all their squares."""
    sums, square = np.zeros((few.stop - few.start, width)), 0.0
    for rows, owner, features in members:
        membership = csr_matrix((np.ones(len(rows), np.float32), (owner, np.arange(len(rows)))), (len(sums), len(rows)))
        sums += membership @ features
        square += float(np.einsum("nd,nd->n", features[:, :-1], features[:, :-1]).sum(dtype=float))
    return sums, square


def _logit(chance: np.ndarray) -> np.ndarray:
    chance = np.clip(chance, LEAST, MOST)
    return np.log(chance) - np.log1p(-chance)
