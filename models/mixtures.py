"""Mixtures: a label for each observation, and components that the labels choose among.

Law: with the labels summed out the density is that of the mixture; the evidence of a Dirichlet process is a sum over
partitions of the observations.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful

__all__ = ["chinese_restaurant", "dirichlet_process_mixture", "finite_mixture", "table_probabilities"]


def finite_mixture(y: Any, weights: Any, centre: Any = 0.0, spread: Any = 2.0, noise: Any = 1.0) -> jax.Array:
    """Give each observation a component: mu_k ~ N(centre, spread), z_i ~ weights, y_i ~ N(mu_{z_i}, noise).

    Args:
        y: (n,), the observations.
        weights: (K,), the weights of the components.
        centre: prior mean of the means, one or one a component.
        spread: prior standard deviation of the means.
        noise: standard deviation within a component.

    Returns: (n,), the labels.

    >>> from lawful import inference
    >>> y = jnp.array([-2.1, -1.9, 2.2, 1.8])
    >>> result = inference.importance(finite_mixture, particles=200, enumerate="all")(
    ...     jax.random.key(0), y, jnp.array([0.5, 0.5])
    ... )
    >>> result.posterior["z"].shape
    (1, 200, 4)
    """
    with lawful.plate("component", len(weights)):
        mu = lawful.sample("mu", dist.Normal(centre, spread))
    with lawful.plate("row", len(y)):
        z: jax.Array = lawful.sample("z", dist.Categorical(probs=jnp.asarray(weights)))
        lawful.sample("y", dist.Normal(mu[z], noise), obs=y)
    return z


def dirichlet_process_mixture(
    y: Any, concentration: Any, truncation: int, spread: Any = 2.0, noise: Any = 1.0
) -> jax.Array:
    """Let the data choose the number of clusters, up to a truncation, by breaking a stick (Sethuraman 1994).

    v_k ~ Beta(1, concentration) for all sticks but the last, which is what is left; w_k = v_k prod_{j<k} (1 - v_j);
    mu_k ~ N(0, spread), z_i ~ w, y_i ~ N(mu_{z_i}, noise). `lawful.models.dynamic.dirichlet_process` needs no
    truncation, and runs in plain Python.

    Args:
        y: (n,), the observations.
        concentration: how evenly the mass is spread.
        truncation: the largest number of clusters, 2 or more; what it leaves out has mass ((c / (1 + c))^truncation) on
            average, c being the concentration.
        spread: prior standard deviation of the means.
        noise: standard deviation within a cluster.

    Returns: the number of clusters that have an observation.

    >>> from lawful import inference
    >>> y = jnp.array([-2.1, -1.9, 2.2])
    >>> result = inference.importance(dirichlet_process_mixture, particles=200)(jax.random.key(0), y, 1.0, 5)
    >>> result.posterior["v"].shape
    (1, 200, 4)
    """
    with lawful.plate("stick", truncation - 1):
        v = lawful.sample("v", dist.Beta(1.0, concentration))
    rest = jnp.concatenate([jnp.ones(1), jnp.cumprod(1.0 - v)])
    weights = rest * jnp.concatenate([v, jnp.ones(1)])
    z = finite_mixture(y, weights, 0.0, spread, noise)
    return lawful.deterministic("clusters", jnp.sum(jnp.bincount(z, length=truncation) > 0))


def chinese_restaurant(y: Any, concentration: Any, spread: Any = 2.0, noise: Any = 1.0) -> jax.Array:
    """Cluster by a Dirichlet process, with its weights and means summed out (Blackwell and MacQueen 1973; Neal 2000).

    An observation joins a cluster of m others in proportion to m, and a new one in proportion to the concentration;
    within a cluster it has the law of a normal mean N(0, spread) given the others there. Only labels are left, so the
    program is finite: enumeration gives its evidence, a filter follows many observations.

    Args:
        y: (n,), the observations.
        concentration: how readily a new cluster opens.
        spread: prior standard deviation of the means.
        noise: standard deviation within a cluster.

    Returns: the number of clusters.

    >>> from lawful import inference
    >>> exact = inference.enumerate(chinese_restaurant)(jnp.array([-2.1, 2.2, 1.8]), 1.0)
    >>> {clusters: round(p, 4) for clusters, p in exact.marginal("return").items()}
    {1: 0.0209, 2: 0.6932, 3: 0.2859}
    """
    n = len(y)

    def step(carry: tuple[jax.Array, jax.Array], y: Any) -> tuple[Any, None]:
        count, total = carry
        z = lawful.sample("z", dist.Categorical(probs=table_probabilities(count, concentration)))
        precision = spread**-2.0 + count[z] * noise**-2.0
        mean = total[z] * noise**-2.0 / precision
        y = lawful.sample("y", dist.Normal(mean, jnp.sqrt(1 / precision + noise**2)), obs=y)
        return (count.at[z].add(1.0), total.at[z].add(y)), None

    (count, _), _ = lawful.scan(step, (jnp.zeros(n), jnp.zeros(n)), y)
    return lawful.deterministic("clusters", jnp.sum(count > 0))


def table_probabilities(count: Any, concentration: Any) -> jax.Array:
    """Give the probabilities of the clusters that the next observation of a Dirichlet process joins.

    An occupied cluster has its count, the first empty one the concentration, in proportion.

    Args:
        count: (K,), observations in each cluster, the occupied ones first. K is above the number of observations so
            far: where no cluster is empty no new one can open, and the process is not exchangeable.
        concentration: how readily a new cluster opens.

    Returns: (K,).

    >>> table_probabilities(jnp.array([2.0, 1.0, 0.0, 0.0]), 1.0).tolist()
    [0.5, 0.25, 0.25, 0.0]
    """
    count = jnp.asarray(count)
    new = jnp.arange(len(count)) == jnp.sum(count > 0)
    weights = jnp.where(new, concentration, count)
    return weights / jnp.sum(weights)
