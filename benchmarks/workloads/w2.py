"""W2 and W3a: Bayesian logistic regression, y_i ~ Bernoulli(logit x_i b), b ~ N(0, I) in 20 dimensions, 1000 rows.

W2 samples its posterior by tempering, W3a by random-walk chains.

Law: the posterior is that of importance sampling with 200 000 draws, whose numbers are kept here.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from benchmarks.workloads.constants import LOG_TWO_PI

PREDICTORS, ROWS = 20, 1000


@cache
def regression() -> tuple[np.ndarray, np.ndarray]:
    """Covariates and labels of W2: `default_rng(1)`, correlated normals behind a column of ones.

    >>> covariates, labels = regression()
    >>> covariates.shape, int(labels.sum())
    ((1000, 20), 521)
    """
    rng = np.random.default_rng(1)
    place = np.arange(PREDICTORS - 1)
    correlation = 0.5 ** np.abs(place[:, None] - place[None, :])
    drawn = rng.standard_normal((ROWS, PREDICTORS - 1)) @ np.linalg.cholesky(correlation).T
    covariates = np.column_stack([np.ones(ROWS), drawn])
    true = 0.7 * rng.standard_normal(PREDICTORS)
    labels = (rng.random(ROWS) < 1 / (1 + np.exp(-covariates @ true))).astype(np.int32)
    for array in (covariates, labels):
        array.setflags(write=False)
    return covariates, labels


# Posterior of W2, by importance sampling; `regression_evidence` computes them again.
REGRESSION_LOG_EVIDENCE = -349.600
REGRESSION_MEAN = (
    0.1312, 0.9117, -0.8577, -0.0465, 1.0142, -0.5816, -1.6551, 0.1646, -1.4664, 0.1232,
    -0.5394, 0.2614, -0.8954, -1.2151, 1.2310, 1.0898, 0.5351, -0.1699, -0.0686, -1.1806,
)  # fmt: skip
REGRESSION_SCALE = (
    0.1027, 0.1293, 0.1448, 0.1341, 0.1443, 0.1389, 0.1575, 0.1275, 0.1531, 0.1347,
    0.1361, 0.1314, 0.1475, 0.1471, 0.1540, 0.1377, 0.1425, 0.1359, 0.1254, 0.1367,
)  # fmt: skip


@cache
def regression_laplace() -> tuple[np.ndarray, np.ndarray]:
    """Mode of the posterior of W2, and the covariance of the normal with the curvature there."""
    x, y = regression()
    mode = np.zeros(PREDICTORS)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ mode))
        curvature = (x * (p * (1 - p))[:, None]).T @ x + np.eye(PREDICTORS)
        mode = mode + np.linalg.solve(curvature, x.T @ (y - p) - mode)
    return mode, np.linalg.inv(curvature)


def regression_starts(chains: int) -> np.ndarray:
    """Starts of W3a (chain, coefficient): draws of that normal by `default_rng(0)`."""
    mode, covariance = regression_laplace()
    noise = np.random.default_rng(0).standard_normal((chains, PREDICTORS))
    return mode + noise @ np.linalg.cholesky(covariance).T


def regression_walk() -> np.ndarray:
    """Root L of the covariance of the steps of W3a: L L^T = 2.38^2/d times the covariance of that normal."""
    return 2.38 / math.sqrt(PREDICTORS) * np.linalg.cholesky(regression_laplace()[1])


def regression_evidence(draws: int = 200_000, seed: int = 123) -> tuple[float, np.ndarray, np.ndarray]:
    """Log evidence, posterior means and standard deviations of W2, by importance sampling.

    The proposal is a Student t of 7 degrees of freedom at the mode, with the curvature there.
    """
    x, y = regression()
    mode, covariance = regression_laplace()
    d, freedom, root = PREDICTORS, 7.0, np.linalg.cholesky(covariance)
    rng = np.random.default_rng(seed)
    log_weights, points = [], []
    for start in range(0, draws, 10_000):
        count = min(10_000, draws - start)
        z = rng.standard_normal((count, d)) / np.sqrt(rng.chisquare(freedom, count) / freedom)[:, None]
        b = mode + z @ root.T
        eta = b @ x.T
        likelihood = eta @ y - np.logaddexp(0.0, eta).sum(axis=1)
        prior = -0.5 * (b * b).sum(axis=1) - 0.5 * d * LOG_TWO_PI
        proposal = -0.5 * (freedom + d) * np.log1p((z * z).sum(axis=1) / freedom)
        log_weights.append(likelihood + prior - proposal)
        points.append(b)
    constant = math.lgamma((freedom + d) / 2) - math.lgamma(freedom / 2) - 0.5 * d * math.log(freedom * math.pi)
    constant -= float(np.log(np.diagonal(root)).sum())
    log_weight, b = np.concatenate(log_weights), np.concatenate(points)
    top = log_weight.max()
    weight = np.exp(log_weight - top)
    share = weight / weight.sum()
    mean = share @ b
    return float(top + np.log(weight.mean()) - constant), mean, np.sqrt(share @ (b - mean) ** 2)
