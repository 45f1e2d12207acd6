"""A regression whose posterior and evidence are known, for guides."""

import numpy as np
import numpyro.distributions as dist
from scipy import stats

import lawful


def line(x, y):
    """A regression with known noise, whose posterior and evidence are known: the slopes are normal."""
    slopes = lawful.sample("slopes", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    with lawful.plate("row", len(y)):
        lawful.sample("y", dist.Normal(x @ slopes, 0.5), obs=y)


def line_data():
    rng = np.random.default_rng(0)
    x = 4 * np.linalg.qr(rng.normal(size=(20, 2)))[0] @ np.array([[1.0, 0.3], [0.0, 1.0]])
    return x, x @ np.array([1.0, -0.5]) + 0.5 * rng.normal(size=20)


def known_line(x, y):
    """Mean and covariance of the slopes, and the log evidence."""
    precision = np.eye(2) / 4 + x.T @ x / 0.25
    covariance = np.linalg.inv(precision)
    evidence = stats.multivariate_normal.logpdf(y, np.zeros(len(y)), 4 * x @ x.T + 0.25 * np.eye(len(y)))
    return covariance @ x.T @ y / 0.25, covariance, evidence
