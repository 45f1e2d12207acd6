"""Coupling: neighbours that tend to have the same label, as strongly as messages can bear.

Law: psi(a, b) = (1 - r) + r 1[a = b] / pi_a gives two neighbours of law pi the label correlation r and leaves both laws
as they are, so a neighbour that knows no more than the base rate sends the message that says nothing. What a message
can amplify is at most N(r) = tanh(log(odds ratio) / 4). The strength is the one at which the spectral radius of these
gains on the paths that do not turn back is kappa: below one, messages between neighbours have one fixed point and go to
it; above, they amplify what they should average.

Reference: Mooij and Kappen (2007), Sufficient conditions for convergence of the sum-product algorithm, for the gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from .radius import spectral_radius

__all__ = ["Coupling", "coupled", "gain", "log_agreement", "strength_of"]

LARGEST = 0.9  # no strength is above it, so that every state of a neighbour stays possible
BISECTIONS = 40


def log_agreement(strength: Any, base_rate: Any) -> np.ndarray:
    """Give log psi of one strength (K, K), or of many (E,) -> (E, K, K).

    Args:
        strength: r, the correlation of the labels of two neighbours that hear of nobody else.
        base_rate: share of ones, or shares of the classes (K,), which add up to one.

    Raises: LawfulError for shares that are none, and for a strength that leaves a pair no positive weight.

    >>> np.exp(log_agreement(0.5, 0.25)).round(4).tolist()
    [[1.1667, 0.5], [0.5, 2.5]]
    """
    shares, r = shares_of(base_rate), np.asarray(strength, float)[..., None, None]
    _refuse_strengths(r, shares)
    return np.log(1 - r + r * np.eye(len(shares)) / shares[:, None])


def gain(strength: Any, base_rate: Any) -> Any:
    """Give the largest gain of a message through psi anywhere, N; at the base rate it is the strength itself.

    >>> round(float(gain(0.1, 0.24)), 4)
    0.1285
    """
    shares, r = shares_of(base_rate), np.asarray(strength, float)
    _refuse_strengths(r, shares)
    rare = np.sort(shares)[:2]
    return np.tanh(np.abs(np.log1p(r * (1 / rare[0] - 1)) + np.log1p(r * (1 / rare[1] - 1)) - 2 * np.log1p(-r)) / 4)


def strength_of(largest_gain: Any, base_rate: Any) -> Any:
    """Give the positive strength whose largest gain is this, at most 0.9.

    >>> round(float(strength_of(gain(0.1, 0.24), 0.24)), 12)
    0.1
    """
    rare = np.sort(shares_of(base_rate))[:2]
    # With u = r / (1 - r) the odds ratio is (1 + u / a) (1 + u / b) = exp(4 atanh N).
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        excess = np.expm1(4 * np.arctanh(np.minimum(np.asarray(largest_gain, float), 1.0)))
        total = rare.sum()
        u = 2 * excess * rare.prod() / (total + np.sqrt(total**2 + 4 * rare.prod() * excess))
        r = np.where(np.isfinite(u), u / (1 + u), 1.0)
    return np.minimum(r, LARGEST)


def shares_of(base_rate: Any) -> np.ndarray:
    """Give shares of all classes (K,), of the share of ones or of all of them.

    >>> shares_of(0.25).tolist()
    [0.75, 0.25]
    """
    given = np.asarray(base_rate, float)
    shares = np.stack([1 - given, given]) if given.ndim == 0 else given
    if shares.ndim != 1 or len(shares) < 2 or not (np.all(shares > 0) and abs(shares.sum() - 1) < 1e-6):
        raise LawfulError(
            f"coupling: the base rate is {given.tolist()}, expected a share between 0 and 1, or positive shares of the "
            "classes that add up to 1. Fix: without both labels in the counts there is nothing to couple; give kappa=0."
        )
    return shares


@dataclass(frozen=True, eq=False)
class Coupling:
    """Neighbours and how strongly they agree.

    Attributes:
        edges: rows that are neighbours (E, 2), each pair once.
        strength: r, one for all edges, or one for each (E,).
        base_rate: share of ones, or shares of the classes (K,).
        kappa: spectral radius of the largest gains: below 1 messages between neighbours cannot run away.
    """

    edges: np.ndarray
    strength: Any
    base_rate: Any
    kappa: float

    @cached_property
    def log_table(self) -> np.ndarray:
        """Log psi (K, K), or of each edge (E, K, K)."""
        return log_agreement(self.strength, self.base_rate)


def coupled(
    edges: np.ndarray,
    n_rows: int,
    base_rate: Any,
    *,
    kappa: float | int = 0.95,
    weights: np.ndarray | None = None,
    allow_unstable: bool = False,
) -> Coupling:
    """Couple neighbours as strongly as kappa allows.

    Args:
        edges: rows that are neighbours (E, 2), each pair once.
        n_rows: number of rows.
        base_rate: share of ones, or shares of the classes (K,); see `Bags.base_rate`.
        kappa: spectral radius of the gains; 0 for none.
        weights: positive numbers that the strengths are proportional to (E,), up to 0.9; None for one strength.
        allow_unstable: whether kappa may be 1 or more.

    Returns: the strengths, and kappa as it is: less than asked for where all strengths are at their most, as on a
        forest, on which messages come to an end whatever they are.

    Raises: LawfulError for kappa out of range, or weights that are not positive.

    >>> ring = np.stack([np.arange(6), (np.arange(6) + 1) % 6], axis=1)
    >>> found = coupled(ring, 6, 0.5, kappa=0.4)  # a ring leads a message on to one neighbour
    >>> round(float(found.strength), 6), round(found.kappa, 6)
    (0.4, 0.4)
    """
    if not 0 <= kappa < 1 and not (allow_unstable and kappa >= 1):
        raise LawfulError(
            f"coupling: kappa={kappa!r}. Fix: give a number from 0 to below 1; allow_unstable=True lets it be larger, "
            "where messages may have several fixed points, or none that they reach."
        )
    if weights is not None and (np.shape(weights) != (len(edges),) or not np.all(np.asarray(weights) > 0)):
        raise LawfulError(f"coupling: weights of shape {np.shape(weights)}, expected {len(edges)} positive numbers.")
    if kappa == 0 or not len(edges):
        return Coupling(edges, 0.0, base_rate, 0.0)
    if weights is None:
        radius = spectral_radius(edges, n_rows)
        strength = float(strength_of(kappa / radius if radius > 0 else 1.0, base_rate))
        return Coupling(edges, strength, base_rate, radius * float(gain(strength, base_rate)))
    relative = np.asarray(weights, float) / np.max(weights)

    def strengths(scale: float) -> np.ndarray:
        return np.minimum(LARGEST, scale * relative)

    def reached(scale: float) -> float:
        return spectral_radius(edges, n_rows, gain(strengths(scale), base_rate))

    low, high = 0.0, LARGEST / float(relative.min())
    if reached(high) > kappa:
        high = 1.0 if reached(1.0) > kappa else high
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if reached(middle) < kappa else (low, middle)
            if high - low < 1e-3 * high:
                break
        high = low
    return Coupling(edges, strengths(high), base_rate, reached(high))


def _refuse_strengths(r: np.ndarray, shares: np.ndarray) -> None:
    """Refuse strengths beyond 0.9, or so negative that equal labels of the rarest class have no weight."""
    least = -float(np.min(shares / (1 - shares)))
    if np.any(r > LARGEST) or np.any(r <= least):
        raise LawfulError(
            f"coupling: strengths from {r.min():.4g} to {r.max():.4g}, expected more than {least:.4g} and at most "
            f"{LARGEST}."
        )
