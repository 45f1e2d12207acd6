"""Kernels of covariates as finite feature maps: linear in rotated columns, or random waves of them.

Law: phi(x) . phi(x') approximates a kernel of x and x', exactly where it is linear and as the mean over frequencies
where it is Gaussian, exp(-|x - x'|^2 / (2 l^2)), l a multiple `length` of the root of the total variance.

Columns are centred; those with more than two values are scaled to variance one, while indicators keep theirs, so that a
rare category counts for little. Then directions of the covariates' covariance are weighted by their variance to a
`power`: with a positive one, functions that vary where the covariates vary are more likely, which is what makes a few
bags enough. A last feature tells how unusual a row is, since rare labels are of unusual rows more often than not.
Nothing here sees a count.

References: Rahimi and Recht (2007), Random features for large-scale kernel machines; Mahalanobis (1936), On the
generalized distance in statistics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lawful.errors import ObservationError

from .bags.members import parts

__all__ = ["FeatureMap", "Kernel", "Scaling", "feature_map", "scaling"]

CLIP = 8.0
DEGENERATE = 1e-6  # of the largest variance: directions of less are those of columns that repeat each other


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
    """Columns to rotated directions: `mean` and `scale` of columns (d,), directions (d, d), their variances (d,).

    `level` and `spread` are mean and standard deviation of the logarithm that `unusual` is made of.
    """

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    level: float = 0.0
    spread: float = 1.0

    def columns(self, X: np.ndarray) -> np.ndarray:
        """Return centred and scaled columns within -8..8 (n, d)."""
        return np.clip((X - self.mean) * self.scale, -CLIP, CLIP)

    def unusual(self, columns: np.ndarray) -> np.ndarray:
        """Return the logarithm of one and the squared Mahalanobis distance of scaled columns, standardised (n,)."""
        kept = self.variances > DEGENERATE * max(float(self.variances[-1]), 1e-300)
        white = columns @ (self.directions[:, kept] / np.sqrt(self.variances[kept])).astype(columns.dtype)
        found: np.ndarray = (np.log1p(np.einsum("nd,nd->n", white, white)) - self.level) / self.spread
        return found.astype(columns.dtype)


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
    found = replace(found, directions=directions, variances=np.maximum(variances, 0))
    distances = np.concatenate([found.unusual(found.columns(X[at]).astype(float)) for at in parts(len(X))])
    spread = float(distances.std())  # none but rounding, where there are no more rows than columns
    return replace(found, level=float(distances.mean()), spread=spread if spread > 1e-3 else np.inf)


@dataclass(frozen=True, eq=False)
class FeatureMap:
    """From rows (n, d) to features (n, width): those of the kernel, and how unusual the row is."""

    scaling: Scaling
    matrix: np.ndarray
    waves: bool

    @property
    def width(self) -> int:
        """Number of features."""
        return self.matrix.shape[1] * (2 if self.waves else 1) + 1

    def __call__(self, X: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        """Return the features of rows; of many rows ask for a part at a time, and in double precision for scores.

        A sum in single precision depends on the rows beside a row, by how a product of matrices is cut up.
        """
        columns: np.ndarray = self.scaling.columns(np.asarray(X, np.float32)).astype(dtype)
        mixed: np.ndarray = columns @ self.matrix.astype(dtype)
        own = (np.cos(mixed), np.sin(mixed)) if self.waves else (mixed,)
        return np.concatenate([*own, self.scaling.unusual(columns)[:, None]], axis=1)


def feature_map(scaled: Scaling, kernel: Kernel, features: int, seed: int) -> FeatureMap:
    """Make the features of a kernel.

    Args:
        scaled: of the covariates, from `scaling`.
        kernel: which.
        features: how many waves, cosines and sines together.
        seed: of their frequencies.

    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> phi = feature_map(scaling(X), Kernel(length=2.0), 4000, seed=1)(X[:2])[:, :-1]
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
