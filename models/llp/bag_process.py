"""Bag process: a Gaussian process on rows that is seen through the sums of bags, exactly, averaged over its kernels.

Law: y_i = pi + f(x_i) + noise, f a Gaussian process whose share R^2 of the variance of y is unknown. Sums over bags of
independent rows, (S - B pi) / sqrt(B), then have a normal law with noise of one known total variance in every bag:
whatever B is, prior and noise together have the variance of y. Each kernel and each share has an exact evidence, and
scores are posterior means weighted by it, so no penalty is chosen, and no bag is held back.

With few bags the prior decides, and it comes from the covariates alone: see `feature_maps`. `out_of_bag` scores each
row by what all other bags say, exactly, without a second fit.

Reference: Rasmussen and Williams (2006), Gaussian processes for machine learning, sections 2.2, 5.4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from lawful.errors import ObservationError

from .bags import Bags
from .baselines.interface import Fitted, check_rows
from .feature_maps import ROWS, FeatureMap, Kernel, feature_map, scaling

__all__ = ["KERNELS", "SHARES", "BagProcess"]

WAVES = ((0.0, 1.4), (0.0, 2.0), (0.25, 2.0), (0.5, 3.0), (1.0, 4.0))
KERNELS = (Kernel(0.5), Kernel(1.0), *(Kernel(power, length) for power, length in WAVES))
SHARES = tuple(step / 50 for step in range(1, 41))
PRIOR = (3.0, 5.0)  # of the share, a beta law: mean 0.375, standard deviation 0.16
LEAST, MOST = 0.005, 0.995  # probabilities that a score may reach


@dataclass(frozen=True)
class BagProcess:
    """A Gaussian process fitted to the sums of bags.

    `details` has the posterior probability of each kernel (`kernels`), the posterior mean of R^2 (`share`), the
    `log_evidence` and the function `out_of_bag` of the rows it was fitted to.

    Attributes:
        kernels: equally likely before the counts are seen.
        features: number of waves for each kernel that is not linear.
        shares: values of R^2, as likely before the counts are seen as the beta law `PRIOR` has it.

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

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and the counts of their bags; rows in no bag help to find the scale of covariates."""
        X = np.asarray(check_rows(X, bags, "BagProcess"), np.float32)
        if bags.counts.ndim > 1 or not np.any(bags.known & (bags.sizes > 0)):
            raise ObservationError(
                f"BagProcess: {bags} has no bag with a known count of ones (n_b,). Fix: give counts of one class."
            )
        part = bags.take(bags.known & (bags.sizes > 0))
        least = 0.5 / part.sizes.sum()
        rate = float(np.clip(part.base_rate, least, 1 - least))
        target = (part.estimates - part.sizes * rate) / np.sqrt(part.sizes)
        scaled, shares = scaling(X), np.array(self.shares)
        sides = []
        for number, kernel in enumerate(self.kernels):
            phi = feature_map(scaled, kernel, self.features, seed * len(self.kernels) + number)
            sides.append(_solve(phi, X, part, target, rate * (1 - rate), shares))
        joint = np.array([side.log_evidence for side in sides]) + log_prior(shares) - np.log(len(sides))
        evidence = float(logsumexp(joint))
        weights = np.exp(joint - evidence)  # (kernels, shares)

        # Functions of the module, not closures, so that a fit can be stored.
        score = partial(_score, sides=tuple(sides), weights=weights, rate=rate)
        out_of_bag = partial(_out_of_bag, X=X, bags=part, sides=tuple(sides), weights=weights, rate=rate)
        told = {"kernels": weights.sum(axis=1), "share": float(weights.sum(axis=0) @ shares), "log_evidence": evidence}
        return Fitted(score, partial(_logits, score=score), told | {"out_of_bag": out_of_bag})


def log_prior(shares: np.ndarray) -> np.ndarray:
    """Return log probabilities of shares before counts are seen (R,).

    >>> np.exp(log_prior(np.array([0.1, 0.4]))).round(3).tolist()
    [0.24, 0.76]
    """
    level = (PRIOR[0] - 1) * np.log(shares) + (PRIOR[1] - 1) * np.log1p(-shares)
    return level - logsumexp(level)


class _Side(NamedTuple):
    """The fit with one kernel, for all shares (R,): Z = U diag(s) V^T are the centred sums of bags."""

    phi: FeatureMap
    mean: np.ndarray
    size: float
    U: np.ndarray
    s: np.ndarray
    V: np.ndarray
    ratio: np.ndarray  # noise over prior variance (R,)
    projected: np.ndarray  # U^T target
    target: np.ndarray
    log_evidence: np.ndarray

    def weights(self, w: np.ndarray) -> np.ndarray:
        """Return the posterior mean of the features' weights, averaged over shares with weights w (R,)."""
        gain = (self.s / (self.s**2 + self.ratio[:, None]) * w[:, None]).sum(axis=0)
        return self.V @ (gain * self.projected)

    def score(self, X: np.ndarray, w: np.ndarray) -> np.ndarray:
        """Return the weighted posterior mean of f of rows (n,)."""
        beta = self.weights(w) / self.size
        found = [self.phi(X[part]) @ beta.astype(np.float32) for part in _parts(len(X))]
        return np.concatenate(found) - self.mean @ beta if len(X) else np.zeros(0)

    def left_out(self, X: np.ndarray, bags: Bags, w: np.ndarray) -> np.ndarray:
        """Return the same from all bags but the row's own; a row in several bags has the mean over these."""
        change = np.zeros_like(self.U)
        for weight, ratio in zip(w, self.ratio, strict=True):
            shrink = self.s**2 / (self.s**2 + ratio)
            residual = self.target - self.U @ (shrink * self.projected)
            error = residual / np.maximum(1 - (self.U**2) @ shrink, 1e-12)
            change += weight * (self.U * error[:, None]) * (self.s / (self.s**2 + ratio))
        found, number = self.score(X, w), np.maximum(bags.memberships, 1)
        for few in _parts(bags.n_bags, max(1, ROWS // int(bags.sizes.max()))):
            members = slice(bags.offsets[few.start], bags.offsets[min(few.stop, bags.n_bags)])
            rows, owner = bags.members[members], bags.owners[members] - few.start
            moved = (change[few] @ self.V.T)[owner] / self.size
            shift = np.einsum("nd,nd->n", self.phi(X[rows]) - self.mean, moved)
            np.subtract.at(found, rows, shift / number[rows])
        return found


def _score(X: np.ndarray, sides: tuple[_Side, ...], weights: np.ndarray, rate: float) -> np.ndarray:
    X = np.asarray(X, np.float32)
    return rate + np.sum([side.score(X, w) for side, w in zip(sides, weights, strict=True)], axis=0)


def _logits(X: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return _logit(score(X))


def _out_of_bag(X: np.ndarray, bags: Bags, sides: tuple[_Side, ...], weights: np.ndarray, rate: float) -> np.ndarray:
    return _logit(rate + np.sum([side.left_out(X, bags, w) for side, w in zip(sides, weights, strict=True)], axis=0))


def _solve(
    phi: FeatureMap, X: np.ndarray, bags: Bags, target: np.ndarray, variance: float, shares: np.ndarray
) -> _Side:
    """Sum features over bags, split the sums into directions, and weigh every share."""
    sums, mean, size = _sums(phi, X, bags)
    root = np.sqrt(bags.sizes.astype(float))
    Z = (sums / root[:, None] - root[:, None] * mean) / size
    few = len(Z) < Z.shape[1]
    squares, basis = np.linalg.eigh(Z @ Z.T if few else Z.T @ Z)
    kept = squares > 1e-10 * max(float(squares[-1]), 1e-300)
    s, basis = np.sqrt(squares[kept]), basis[:, kept]
    U, V = (basis, Z.T @ basis / s) if few else (Z @ basis / s, basis)
    projected, ratio = U.T @ target, (1 - shares) / shares
    shrink = s**2 / (s**2 + ratio[:, None])
    noise = variance * (1 - shares)
    misfit = (target @ target - shrink @ projected**2) / noise
    log_det = np.log1p(s**2 / ratio[:, None]).sum(axis=1) + len(Z) * np.log(noise)
    return _Side(phi, mean, size, U, s, V, ratio, projected, target, -0.5 * (misfit + log_det))


def _sums(phi: FeatureMap, X: np.ndarray, bags: Bags) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the sums of features over bags, their mean over members, and their root mean square distance from it."""
    sums, square = np.zeros((bags.n_bags, phi.width)), 0.0
    membership = bags.membership.astype(np.float32).tocsc()
    for part in _parts(bags.n_rows):
        features = phi(X[part])
        sums += membership[:, part] @ features
        square += float(bags.memberships[part] @ np.einsum("nd,nd->n", features, features))
    total = bags.sizes.sum()
    mean = sums.sum(axis=0) / total
    spread = square / total - float(mean @ mean)
    return sums, mean, max(spread, 1e-12) ** 0.5


def _parts(length: int, step: int = ROWS) -> Iterator[slice]:
    return (slice(at, at + step) for at in range(0, length, step))


def _logit(chance: np.ndarray) -> np.ndarray:
    chance = np.clip(chance, LEAST, MOST)
    return np.log(chance) - np.log1p(-chance)
