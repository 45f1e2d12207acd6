"""Kernels of covariates as finite feature maps: linear in rotated columns, or random waves of them.

Law: phi(x) . phi(x') approximates a kernel of x and x', exactly where it is linear and as the mean over frequencies
where it is Gaussian, exp(-|x - x'|^2 / (2 l^2)), l a multiple `length` of the root of the total variance.

Columns are centred; those with more than two values are scaled to variance one, while indicators keep theirs, so that a
rare category counts for little. Then directions of the covariates' covariance are weighted by their variance to a
`power`: with a positive one, functions that vary where the covariates vary are more likely, which is what makes a few
bags enough. Nothing here sees a count.

Reference: Rahimi and Recht (2007), Random features for large-scale kernel machines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lawful.errors import ObservationError

from .members import parts

__all__ = ["FeatureMap", "Kernel", "Scaling", "feature_map", "scaling"]

CLIP = 8.0


@dataclass(frozen=True)
class Kernel:
    """A kernel: `power` of the variance of directions, and `length` of waves; None is linear."""

    power: float = 0.0
    length: float | None = None

    def __post_init__(self) -> None:
        """Check the length."""
        if self.length is not None and not self.length > 0:
            raise ObservationError(f"Kernel: length={self.length!r}. Fix: give a positive number, or None for linear.")


@dataclass(frozen=True, eq=False)
class Scaling:
    """Columns to rotated directions: `mean` and `scale` of columns (d,), directions (d, d), their variances (d,)."""

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    def columns(self, X: np.ndarray) -> np.ndarray:
        """Return centred and scaled columns within -8..8 (n, d)."""
        return np.clip((X - self.mean) * self.scale, -CLIP, CLIP)


def scaling(X: np.ndarray) -> Scaling:
    """Look at all rows: means, scales and principal directions.

    >>> found = scaling(np.array([[0.0, 10.0], [1.0, 20.0], [0.0, 60.0]]))
    >>> [round(float(s), 3) for s in found.scale]  # an indicator, and a number of standard deviation 21.6
    [1.0, 0.046]
    """
    mean, sd = X.mean(axis=0, dtype=float), X.std(axis=0, dtype=float)
    low, high = X.min(axis=0), X.max(axis=0)
    binary = np.all((X == low) | (X == high), axis=0)
    width = np.where(binary, high - low, sd).astype(float)
    scale = np.where(width > 1e-12 * np.maximum(np.abs(mean), 1), 1 / np.where(width > 0, width, 1), 0)
    found = Scaling(mean.astype(np.float32), scale.astype(np.float32), np.eye(X.shape[1]), np.ones(X.shape[1]))
    product = np.zeros((X.shape[1], X.shape[1]))
    for at in parts(len(X)):
        part = found.columns(X[at]).astype(float)
        product += part.T @ part
    variances, directions = np.linalg.eigh(product / len(X))
    return Scaling(found.mean, found.scale, directions, np.maximum(variances, 0))


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """From rows (n, d) to features (n, width)."""

    scaling: Scaling
    matrix: np.ndarray
    waves: bool

    @property
    def width(self) -> int:
        """Number of features."""
        return self.matrix.shape[1] * (2 if self.waves else 1)

    def __call__(self, X: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Return the features of rows; of many rows ask for a part at a time, and in double precision for scores.

        A sum in single precision depends on the rows beside a row, by how a product of matrices is cut up.
        """
        mixed: np.ndarray = self.scaling.columns(np.asarray(X, np.float32)).astype(dtype) @ self.matrix.astype(dtype)
        return np.concatenate([np.cos(mixed), np.sin(mixed)], axis=1) if self.waves else mixed


def feature_map(scaled: Scaling, kernel: Kernel, features: int, seed: int) -> FeatureMap:
    """Make the features of a kernel.

    Args:
        scaled: of the covariates, from `scaling`.
        kernel: which.
        features: how many waves, cosines and sines together.
        seed: of their frequencies.

    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> phi = feature_map(scaling(X), Kernel(length=2.0), 4000, seed=1)(X[:2])
    >>> gap = np.sum((X[0] - X[1]) ** 2 / X.var(axis=0))
    >>> bool(abs(phi[0] @ phi[1] / 2000 - np.exp(-gap / (2 * 4.0 * 3))) < 0.05)
    True
    """
    weight = np.maximum(scaled.variances, 1e-12) ** kernel.power
    matrix = scaled.directions * weight
    if kernel.length is None:
        return FeatureMap(scaled, matrix.astype(np.float32), False)
    total = np.sqrt(np.sum(scaled.variances * weight**2))
    frequencies = np.random.default_rng(seed).normal(size=(len(weight), features // 2))
    return FeatureMap(scaled, (matrix @ frequencies / (kernel.length * max(total, 1e-12))).astype(np.float32), True)
