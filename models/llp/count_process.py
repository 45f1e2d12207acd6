"""Count process: a Gaussian process of log odds, seen through the counts of bags by their exact likelihood.

Law: the fit is the mode of the prior of the features' weights times prod_b P(S_b | z), exactly: its slope is the sum
over rows of (posterior given the count of the bag, less probability) times features. Kernels are those that the bag
process finds probable, and the prior's variance follows from the share of variance that it finds explained. The bag
process takes all rows for equally uncertain; here a row that is all but certain leaves its bag to speak of the
others.

Steps are Fisher's: a count has the variance V_b = sum p (1 - p) and the slope J_b = sum p (1 - p) phi, so it informs by
J_b J_b^T / V_b. `out_of_bag` is one such step from the mode, without the row's own bag.

Reference: Rasmussen and Williams (2006), Gaussian processes for machine learning, section 3.4, for the mode; Rad and
Maleki (2020), A scalable estimate of the out-of-sample prediction error via approximate leave-one-out, for the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix
from scipy.special import expit, logit

from lawful.inference import LongStep

from .bag_process import BagProcess
from .bags.bags import Bags
from .bags.members import Members, few_bags, members_of, parts
from .feature_maps import FeatureMap
from .labels.likelihood import CountScore, count_score
from .training.fitted import Fitted

__all__ = ["CountProcess"]

STEPS, HALVINGS = 25, 10
SETTLED = 1e-7  # of the gain of a step, for each bag
NEAR = 0.01  # of the gain of the last step: a tenth of a standard deviation of the posterior from the mode
LEVEL = 1e-4  # precision of the level, so that it is finite where no label is seen
KEPT = 1 << 28  # bytes of features that are kept between steps


@dataclass(frozen=True)
class CountProcess:
    """A Gaussian process of log odds, fitted to the counts of bags that do not overlap.

    `details` are those of the bag process, with the function `out_of_bag` of the rows it was fitted to, the number of
    `iterations`, and whether they ended near every mode (`settled`).

    Attributes:
        process: finds kernels and shares.
        least: posterior probability from which on a kernel is fitted; the most probable one is always.

    >>> X = np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32)
    >>> bags = Bags.from_labels((X[:, 0] > 0).astype(int), np.arange(400) // 8)
    >>> z = CountProcess(BagProcess(features=50)).fit(X, bags).logits(X)
    >>> bool(np.corrcoef(z, X[:, 0])[0, 1] > 0.8)
    True
    """

    process: BagProcess = BagProcess()
    least: float = 0.1

    def fit(self, X: np.ndarray, bags: Bags, *, seed: int = 0) -> Fitted:
        """Fit to rows (n, d) and the counts of their bags."""
        found = self.process.evidence(X, bags, seed=seed)
        chance = found.weights.sum(axis=1)
        taken = np.flatnonzero(chance >= min(self.least, chance.max()))
        X, shares = np.asarray(X, np.float32), found.weights[taken] @ found.shares / chance[taken]
        modes = tuple(
            _fitted(found.sides[k], float(share), X, found.bags, found.rate)
            for k, share in zip(taken, shares, strict=True)
        )
        chances = chance[taken] / chance[taken].sum()
        out_of_bag = partial(_out_of_bag, X=X, bags=found.bags, modes=modes, chances=chances)
        logits = partial(_logits, modes=tuple(mode._replace(hessian=None, z=None) for mode in modes), chances=chances)
        told = {
            "out_of_bag": out_of_bag,
            "iterations": max(mode.steps for mode in modes),
            "settled": all(mode.settled for mode in modes),
        }
        return Fitted(logits, logits, found.told | told)


class _Mode(NamedTuple):
    """Weights of centred features and of a one (D + 1,), on a level of the log odds; what leaves bags out."""

    phi: FeatureMap
    mean: np.ndarray
    size: np.ndarray
    level: float
    weights: np.ndarray
    hessian: Any = None  # factored
    z: Any = None  # log odds of the rows it was fitted to
    steps: int = 0
    settled: bool = False

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return features and a one (n, D + 1)."""
        return np.concatenate([(self.phi(X) - self.mean) / self.size, np.ones((len(X), 1), np.float32)], axis=1)

    def score(self, X: np.ndarray) -> np.ndarray:
        """Return log odds (n,)."""
        weights = self.weights[:-1] / self.size.astype(float)
        found = [self.phi(X[at], float) @ weights for at in parts(len(X))]
        return np.concatenate([np.zeros(0), *found]) + (self.weights[-1] + self.level - self.mean @ weights)


def _fitted(side: Any, share: float, X: np.ndarray, bags: Bags, rate: float) -> _Mode:
    """Climb to the mode."""
    prior = np.append(np.full(side.phi.width, (1 - share) ** 2 * rate * (1 - rate) / share), LEVEL)
    mean, size = side.mean.astype(np.float32), side.size.astype(np.float32)
    ahead = np.zeros(len(prior))
    ahead[-2] = side.ahead / (rate * (1 - rate) * (1 - share))
    mode = _Mode(side.phi, mean, size, float(logit(rate)), ahead)
    z, weights = mode.score(X), mode.weights
    features = _kept(mode, X, bags)

    def height(told: CountScore, weights: np.ndarray) -> float:
        return float(np.sum(told.log_likelihood)) - 0.5 * float(prior @ (weights - ahead) ** 2)

    climb = LongStep.of("mode", (side, share, X, bags, rate))
    first, z, weights = climb.taken_up((0, np.asarray(z), weights))
    told = count_score(z, bags)
    for number in range(first, STEPS):
        climb.keep((number, z, weights))
        p = expit(z)
        slope, hessian = -prior * (weights - ahead), np.diag(prior)
        for few, members in features():
            slopes, scores = _told(members, few, p * (1 - p), told.slope, len(prior))
            slope += scores.sum(axis=0)
            hessian += slopes.T @ slopes
        factored = cho_factor(hessian)
        step = cho_solve(factored, slope)
        gain, rest = float(slope @ step), SETTLED * bags.n_bags
        mode = mode._replace(weights=weights, hessian=factored, z=z, steps=number + 1, settled=gain < max(NEAR, rest))
        if gain < rest:
            break
        along = np.zeros(len(X))
        for _, members in features():
            for rows, _, f in members():
                along[rows] = f @ step.astype(np.float32)
        for length in 0.5 ** np.arange(HALVINGS):
            new = count_score(z + length * along, bags)
            if height(new, weights + length * step) > height(told, weights):
                break
        else:  # nothing is left but rounding
            return mode._replace(settled=True)
        z, weights, told = z + length * along, weights + length * step, new
    return mode


def _told(
    members: Callable[[], Iterable[Members]], few: slice, weight: np.ndarray, excess: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum over the members of a few bags: slopes of counts over their deviations, and scores (few, D + 1)."""
    number = few.stop - few.start
    slopes, scores, variance = np.zeros((number, width)), np.zeros((number, width)), np.zeros(number)
    for rows, owner, f in members():
        where, shape = (owner, np.arange(len(rows))), (number, len(rows))
        slopes += csr_matrix((weight[rows].astype(np.float32), where), shape) @ f
        scores += csr_matrix((excess[rows].astype(np.float32), where), shape) @ f
        variance += np.bincount(owner, weight[rows], number)
    return slopes / np.sqrt(np.maximum(variance, 1e-12))[:, None], scores


Runs = Iterable[tuple[slice, Callable[[], Iterable[Members]]]]  # of bags, and their members as often as wanted


def _kept(mode: _Mode, X: np.ndarray, bags: Bags) -> Callable[[], Runs]:
    """Give the members of all bags with their features, as often as wanted; few enough are computed once."""

    def made() -> Runs:
        return ((few, members_of(mode.features, X, bags, few)) for few in few_bags(bags))

    if len(bags.members) * len(mode.weights) * 4 > KEPT:
        return made
    kept = list(made())
    return lambda: kept


def _logits(X: np.ndarray, modes: tuple[_Mode, ...], chances: np.ndarray) -> np.ndarray:
    X = np.asarray(X, np.float32)
    return np.sum([w * mode.score(X) for mode, w in zip(modes, chances, strict=True)], axis=0)


def _out_of_bag(X: np.ndarray, bags: Bags, modes: tuple[_Mode, ...], chances: np.ndarray) -> np.ndarray:
    """Score rows after one step without their own bag."""
    found = _logits(X, modes, chances)
    for mode, chance in zip(modes, chances, strict=True):
        p = expit(mode.z)
        excess = count_score(mode.z, bags).slope
        for few in few_bags(bags):
            members = members_of(mode.features, X, bags, few)
            own, scores = _told(members, few, p * (1 - p), excess, len(mode.weights))
            back, turned = (cho_solve(mode.hessian, side.T).T for side in (scores, own))
            left = np.maximum(1 - np.einsum("bd,bd->b", own, turned), 1e-6)
            moves = back + turned * (np.einsum("bd,bd->b", own, back) / left)[:, None]
            moves = moves.astype(np.float32)
            for rows, owner, f in members():
                found[rows] -= chance * np.einsum("nd,nd->n", f, moves[owner])
    return found
