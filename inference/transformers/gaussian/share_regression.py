"""Share regression: a linear model whose share of explained variance is unknown, exact for many shares at once.

y = Z w + e with w ~ N(0, R^2 v I) and e ~ N(0, (1 - R^2) v I), so that rows of Z of mean square 1 leave y the variance
v whatever the share R^2 is.

Law: for each share, `log_evidence` and `weights` are those of this program with `integrate_normals(["w"])`, and
`without_each` those of the program without the row. One decomposition Z = U diag(s) V' serves all shares, which the
program finds one by one; that is why it is written by hand.

Reference: Rasmussen and Williams (2006), Gaussian processes for machine learning, sections 2.1 and 5.4.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lawful.errors import LawfulError

SMALLEST = 1e-10  # of the largest square of s: directions of less are those of rounding
NEGLIGIBLE = 1e-9  # of all weight, that of a share which is left out of an average
LOG_2PI = float(np.log(2 * np.pi))


class ShareRegression(NamedTuple):
    """The posterior for each of R shares, of n rows of D columns that vary in r directions.

    Attributes:
        log_evidence: log density of y for each share (R,).
        s: lengths of the directions (r,).
        V: directions of the columns (D, r).
        ratio: variance of the noise over that of a weight (R,).
        projected: U'y (r,).
    """

    log_evidence: np.ndarray
    s: np.ndarray
    V: np.ndarray
    ratio: np.ndarray
    projected: np.ndarray

    def weights(self, by: Any) -> np.ndarray:
        """Give the posterior mean of w, averaged over shares by weights (R,) that need not sum to one (D,)."""
        gain = np.asarray(by)[:, None] * self.s / (self.s**2 + self.ratio[:, None])
        found: np.ndarray = self.V @ (gain.sum(axis=0) * self.projected)
        return found

    def without_each(self, Z: Any, y: Any, by: Any) -> np.ndarray:
        """Give by how much the mean of w falls when a row is left out, for some of the rows (m, D).

        Args:
            Z: these rows (m, D).
            y: their answers (m,).
            by: weights of the shares (R,), taken as they are without the row.
        """
        by = np.asarray(by)
        U = Z @ self.V / self.s
        change = np.zeros_like(U)
        for at in np.flatnonzero(by > NEGLIGIBLE * by.sum()):
            along = self.s / (self.s**2 + self.ratio[at])
            error = (y - U @ (self.s * along * self.projected)) / np.maximum(1 - U**2 @ (self.s * along), 1e-12)
            change += by[at] * (U * error[:, None]) * along
        return change @ self.V.T


def share_regression(Z: Any, y: Any, *, variance: float, shares: Any) -> ShareRegression:
    """Fit to rows, for which an n by n matrix is decomposed: where they are fewer than columns.

    Args:
        Z: rows (n, D).
        y: answers of mean 0 (n,).
        variance: of an answer, v.
        shares: of explained variance, each between 0 and 1 (R,).

    Raises: LawfulError for a share or a variance that cannot be.

    >>> found = share_regression([[1.0], [-1.0]], [0.5, -0.7], variance=1.0, shares=[0.5])
    >>> found.weights([1.0]).round(3).tolist(), found.log_evidence.round(3).tolist()
    ([0.4], [-1.954])
    """
    Z, y = np.asarray(Z, float), np.asarray(y, float)
    s, basis = _directions(Z @ Z.T)
    return _solved(s, Z.T @ basis / s, basis.T @ y, float(y @ y), len(y), variance, shares)


def share_regression_of_sums(
    product: Any, seen: Any, square: float, n: int, *, variance: float, shares: Any
) -> ShareRegression:
    """Fit to sums over rows, for which a D by D matrix is decomposed: nothing grows with the number of rows.

    Args:
        product: Z'Z (D, D).
        seen: Z'y (D,).
        square: y'y.
        n: number of rows.
        variance: of an answer.
        shares: of explained variance, each between 0 and 1 (R,).

    Raises: LawfulError for a share or a variance that cannot be.

    >>> found = share_regression_of_sums([[2.0]], [1.2], 0.74, 2, variance=1.0, shares=[0.5])
    >>> found.weights([1.0]).round(3).tolist(), found.log_evidence.round(3).tolist()
    ([0.4], [-1.954])
    """
    s, V = _directions(np.asarray(product, float))
    return _solved(s, V, V.T @ np.asarray(seen, float) / s, float(square), n, variance, shares)


def _solved(
    s: np.ndarray, V: np.ndarray, projected: np.ndarray, square: float, n: int, variance: float, shares: Any
) -> ShareRegression:
    shares = np.asarray(shares, float)
    if not np.all((shares > 0) & (shares < 1)):
        raise LawfulError(f"share_regression: shares={shares.tolist()}. Fix: give numbers between 0 and 1.")
    if not variance > 0:
        raise LawfulError(f"share_regression: variance={variance!r}. Fix: give a positive number.")
    ratio, noise = (1 - shares) / shares, variance * (1 - shares)
    shrink = s**2 / (s**2 + ratio[:, None])
    misfit = (square - shrink @ projected**2) / noise
    log_det = np.log1p(s**2 / ratio[:, None]).sum(axis=1) + n * (np.log(noise) + LOG_2PI)
    return ShareRegression(-0.5 * (misfit + log_det), s, V, ratio, projected)


def _directions(product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    squares, basis = np.linalg.eigh(product)
    kept = squares > SMALLEST * max(float(squares[-1]), 1e-300)
    return np.sqrt(squares[kept]), basis[:, kept]
