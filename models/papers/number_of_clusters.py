"""The number of clusters: a probability of each number of normal clusters, and an answer that needs no number.

The means and covariances of clusters have conjugate priors, so that only labels are left: a datum joins a cluster in
proportion to its size, and has there a Student law given the others. The evidence of each number of clusters, and with
it the probability of the number, comes from a filter over the data.

Law: the evidence of a partition is that of the mixture whose parameters are sampled; it depends neither on the order
of the data nor on the names of clusters.

Reference: Chung and others (2020), Probabilistic partitive partitioning, arXiv:2003.04372, for the question; Murphy
(2007), Conjugate Bayesian analysis of the Gaussian distribution, section 9, for the Student law; Neal (2000), Markov
chain sampling methods for Dirichlet process mixture models, JCGS 9, for the partition without a number.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful

__all__ = ["mixture", "partition", "same_cluster"]


def mixture(y: Any, clusters: int, spread: float = 0.2) -> None:
    """Cluster standardised data by a mixture of normals, each with its own mean and covariance.

    w ~ Dirichlet(1); precision_k ~ Wishart(d + 2, I / spread), so that a covariance has the mean spread I;
    mu_k ~ N(0, covariance_k / spread); z_i ~ w; y_i ~ N(mu_{z_i}, covariance_{z_i}).

    Args:
        y: (n, d), the data, each column of mean 0 and variance 1.
        clusters: K.
        spread: share of the variance of the data that is within a cluster.

    >>> from lawful import inference
    >>> y = jnp.array([[-1.1], [-0.9], [1.0]])
    >>> importance = inference.importance(mixture, particles=200, enumerate="all")
    >>> importance(jax.random.key(0), y, 2).posterior["z"].shape
    (1, 200, 3)
    """
    d = jnp.shape(y)[1]
    weights = lawful.sample("weights", dist.Dirichlet(jnp.ones(clusters)))
    with lawful.plate("cluster", clusters):
        prior = dist.WishartCholesky(float(d + 2), scale_tril=jnp.eye(d) / jnp.sqrt(spread))
        root = lawful.sample("root", prior)
        scale = jnp.linalg.cholesky(jnp.linalg.inv(root @ jnp.swapaxes(root, -1, -2)))
        mu = lawful.sample("mu", dist.MultivariateNormal(jnp.zeros(d), scale_tril=scale / jnp.sqrt(spread)))
    with lawful.plate("datum", len(y)):
        z = lawful.sample("z", dist.Categorical(probs=weights))
        lawful.sample("y", dist.MultivariateNormal(mu[z], scale_tril=scale[z]), obs=y)


def partition(y: Any, clusters: int, concentration: float | None = None, spread: float = 0.2) -> jax.Array:
    """Cluster standardised data, with weights, means and covariances integrated out.

    A datum joins cluster k in proportion to m_k + 1, where m_k others are there; with a concentration, in proportion to
    m_k where there are some, and to the concentration for a new one. Given its cluster it has a Student law.

    Args:
        y: (n, d), the data, each column of mean 0 and variance 1, in an order without meaning.
        clusters: K; with a concentration, the most there may be.
        concentration: how readily a new cluster opens; None for the labels of `mixture`.
        spread: share of the variance of the data that is within a cluster.

    Returns: the number of clusters that have data.

    >>> from lawful import inference
    >>> exact = inference.enumerate(partition)(jnp.array([[-1.1], [-0.9], [1.0]]), 3, 1.0)
    >>> {clusters: round(p, 3) for clusters, p in exact.marginal("return").items()}
    {1: 0.026, 2: 0.791, 3: 0.183}
    """
    d = jnp.shape(y)[1]

    def step(carry: tuple[jax.Array, jax.Array, jax.Array], row: Any) -> tuple[Any, None]:
        count, total, square = carry
        new = jnp.arange(clusters) == jnp.sum(count > 0)
        share = count + 1.0 if concentration is None else jnp.where(new, concentration, count)
        z = lawful.sample("z", dist.Categorical(probs=share / jnp.sum(share)))
        known, freedom = spread + count[z], 3.0 + count[z]
        mean = total[z] / known
        scatter = (square[z] - known * jnp.outer(mean, mean)) * (known + 1) / (known * freedom)
        student = dist.MultivariateStudentT(freedom, mean, jnp.linalg.cholesky(scatter))
        row = lawful.sample("y", student, obs=row)
        return (count.at[z].add(1.0), total.at[z].add(row), square.at[z].add(jnp.outer(row, row))), None

    start = (jnp.zeros(clusters), jnp.zeros((clusters, d)), jnp.tile(spread * jnp.eye(d), (clusters, 1, 1)))
    (count, _, _), _ = lawful.scan(step, start, jnp.asarray(y))
    return lawful.deterministic("occupied", jnp.sum(count > 0))


def same_cluster(z: Any, weights: Any = None) -> np.ndarray:
    """Give the probability of each pair of data to be in one cluster.

    Args:
        z: (..., n), draws of the labels.
        weights: (...), of the draws, up to a constant; None for equal ones.

    Returns: (n, n).

    >>> same_cluster([[0, 0, 1], [1, 1, 1]]).tolist()
    [[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]]
    """
    labels = np.reshape(z, (-1, np.shape(z)[-1])).astype(int)
    share = np.ones(len(labels)) if weights is None else np.ravel(weights)
    pairs = np.zeros((labels.shape[1], labels.shape[1]))
    for k in np.unique(labels):
        members = (labels == k).astype(float)
        pairs += members.T @ (share[:, None] * members)
    return np.asarray(pairs / share.sum())
