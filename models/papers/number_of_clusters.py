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

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError
from lawful.models.mixtures import table_probabilities

__all__ = ["Groups", "adapted", "co_clustering", "mixture", "partition"]


class Groups(NamedTuple):
    """What is kept of the data of each cluster.

    Attributes:
        count: (K,), how many there are.
        total: (K, d), their sum.
        square: (K, d, d), the sum of their outer products, and the prior scatter.
    """

    count: Any
    total: Any
    square: Any


def mixture(y: Any, clusters: int, spread: float = 0.2) -> None:
    """Cluster standardised data by a mixture of normals, each with its own mean and covariance.

    w ~ Dirichlet(1); precision_k ~ Wishart(d + 2, I / spread), so that a covariance has the mean spread I;
    mu_k ~ N(0, covariance_k / spread); z_i ~ w; y_i ~ N(mu_{z_i}, covariance_{z_i}).

    Args:
        y: (n, d), the data, each column of mean 0 and variance 1.
        clusters: K.
        spread: share of the variance of the data that is within a cluster.

    Raises: LawfulError where the data are no table, or there is no cluster.

    >>> from lawful import inference
    >>> y = jnp.array([[-1.1], [-0.9], [1.0]])
    >>> importance = inference.importance(mixture, particles=200, enumerate="all")
    >>> importance(jax.random.key(0), y, 2).posterior["z"].shape
    (1, 200, 3)
    """
    _, d = _shape(y, clusters)
    weights = lawful.sample("weights", dist.Dirichlet(jnp.ones(clusters)))
    with lawful.plate("cluster", clusters):
        prior = dist.WishartCholesky(float(d + 2), scale_tril=jnp.eye(d) / jnp.sqrt(spread))
        root = lawful.sample("root", prior)
        scale = jnp.linalg.cholesky(jnp.linalg.inv(root @ jnp.swapaxes(root, -1, -2)))
        mu = lawful.sample("mu", dist.MultivariateNormal(jnp.zeros(d), scale_tril=scale / jnp.sqrt(spread)))
    with lawful.plate("datum", len(y)):
        z = lawful.sample("z", dist.Categorical(probs=weights))
        lawful.sample("y", dist.MultivariateNormal(mu[z], scale_tril=scale[z]), obs=y)


def partition(y: Any, clusters: int | None = None, concentration: float = 1.0, spread: float = 0.2) -> jax.Array:
    """Cluster standardised data, with weights, means and covariances integrated out.

    Of K clusters a datum joins one that holds m others in proportion to m + concentration: w ~ Dirichlet(concentration)
    is integrated out. Without a number they are those of a Dirichlet process: a datum joins one in proportion to m, and
    a new one in proportion to the concentration. In its cluster it has a Student law.

    Args:
        y: (n, d), the data, each column of mean 0 and variance 1, in an order without meaning.
        clusters: K; None for as many as there turn out to be.
        concentration: of the Dirichlet law, or of the Dirichlet process; with K clusters and 1, as in `mixture`.
        spread: share of the variance of the data that is within a cluster.

    Returns: the number of clusters that have data.

    Raises: LawfulError where the data are no table, or there is no cluster.

    >>> from lawful import inference
    >>> exact = inference.enumerate(partition)(jnp.array([[-1.1], [-0.9], [1.0]]))
    >>> {clusters: round(p, 3) for clusters, p in exact.marginal("return").items()}
    {1: 0.026, 2: 0.791, 3: 0.183}
    """
    n, d = _shape(y, clusters)
    slots = n if clusters is None else clusters

    def step(groups: Groups, row: Any) -> tuple[Groups, None]:
        z = lawful.sample("z", dist.Categorical(probs=_probabilities(groups, clusters, concentration)))
        row = lawful.sample("y", _student(jax.tree.map(lambda x: x[z], groups), spread), obs=row)
        return Groups(
            *(x.at[z].add(more) for x, more in zip(groups, (1.0, row, jnp.outer(row, row)), strict=True))
        ), None

    start = Groups(jnp.zeros(slots), jnp.zeros((slots, d)), jnp.tile(spread * jnp.eye(d), (slots, 1, 1)))
    groups, _ = lawful.scan(step, start, jnp.asarray(y))
    return lawful.deterministic("occupied", jnp.sum(groups.count > 0))


def adapted(clusters: int | None = None, concentration: float = 1.0, spread: float = 0.2) -> Callable[..., None]:
    """Give the proposal of a filter over `partition` that looks at the datum before it draws its cluster.

    Args:
        clusters: as of the partition.
        concentration: as of the partition.
        spread: as of the partition.

    Returns: a program of a step: each cluster in proportion to its size and to the density of the datum there.

    >>> from lawful import inference
    >>> y = jnp.array([[-1.1], [-0.9], [1.0]])
    >>> runs = inference.smc(partition, particles=100, runs=4, proposal=adapted(2))(jax.random.key(0), y, 2)
    >>> bool(abs(runs.log_evidence_pooled - inference.enumerate(partition)(y, 2).log_evidence) < 0.05)
    True
    """

    def propose(groups: Groups, row: Any) -> None:
        log_density = jax.vmap(lambda group: _student(group, spread).log_prob(row))(groups)
        log_share = jnp.log(_probabilities(groups, clusters, concentration))
        lawful.sample("z", dist.Categorical(logits=log_share + log_density))

    return propose


def _probabilities(groups: Groups, clusters: int | None, concentration: float) -> jax.Array:
    if clusters is None:
        return table_probabilities(groups.count, concentration)
    weights = groups.count + concentration
    return weights / jnp.sum(weights)


def _student(group: Groups, spread: float) -> Any:
    """Give the law of a further datum of a group."""
    known, freedom = spread + group.count, 3.0 + group.count
    mean = group.total / known
    scatter = (group.square - known * jnp.outer(mean, mean)) * (known + 1) / (known * freedom)
    return dist.MultivariateStudentT(freedom, mean, jnp.linalg.cholesky(scatter))


def co_clustering(z: Any, weights: Any = None) -> np.ndarray:
    """Give the probability of each pair of data to be in one cluster.

    Args:
        z: (..., n), draws of the labels.
        weights: (...), of the draws, up to a constant; None for equal ones.

    Returns: (n, n).

    >>> co_clustering([[0, 0, 1], [1, 1, 1]]).tolist()
    [[1.0, 1.0, 0.5], [1.0, 1.0, 0.5], [0.5, 0.5, 1.0]]
    """
    labels = np.reshape(z, (-1, np.shape(z)[-1])).astype(int)
    share = np.ones(len(labels)) if weights is None else np.ravel(weights)
    pairs = np.zeros((labels.shape[1], labels.shape[1]))
    for k in np.unique(labels):
        members = (labels == k).astype(float)
        pairs += members.T @ (share[:, None] * members)
    return np.asarray(pairs / share.sum())


def _shape(y: Any, clusters: int | None) -> tuple[int, int]:
    shape = jnp.shape(y)
    if len(shape) != 2 or 0 in shape:
        fix = " Fix: y[:, None] for data of one dimension." if len(shape) == 1 else ""
        raise LawfulError(f"number_of_clusters: y has shape {shape}; wanted a table (n, d), a row a datum.{fix}")
    if clusters is not None and clusters < 1:
        raise LawfulError(f"number_of_clusters: clusters is {clusters}; wanted 1 or more, or None for any number.")
    return shape[0], shape[1]
