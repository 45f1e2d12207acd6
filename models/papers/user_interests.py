"""Interests of users: many small samples of clusters, each with a Dirichlet law about the interests of a group.

A user is a share of each cluster of items. The shares of one user are drawn about those of a group, so that few events
are filled up from similar users and many events speak for themselves: with n events the group counts as much as
`strength` more. Shares are conjugate and integrated out; what is left are the groups.

Law: the counts of a user have a mixture of Dirichlet-multinomial laws; the mean of the shares given counts and group is
(strength * centre + counts) / (strength + n).

Reference: El-Kishky and others (2023), kNN-Embed: locally smoothed embedding mixtures for multi-interest candidate
retrieval, arXiv:2205.06205; Minka (2000), Estimating a Dirichlet distribution, for the law of counts.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

import lawful
from lawful.errors import LawfulError

__all__ = ["expected_shares", "user_interests"]


def user_interests(counts: Any, groups: int = 1) -> None:
    """Observe how often each user took an item of each cluster.

    w ~ Dirichlet(1), centre_g ~ Dirichlet(2), strength_g ~ LogNormal(log 10, 1), z_u ~ w,
    counts_u ~ DirichletMultinomial(strength_{z_u} centre_{z_u}, n_u).

    Args:
        counts: (users, clusters), numbers of events; a row of zeros is a user without any.
        groups: number of groups of users.

    Raises: LawfulError where the counts are no table, or there is no group.

    >>> from lawful import inference
    >>> counts = jnp.array([[3, 0, 1], [2, 1, 0], [0, 0, 4]])
    >>> fit = inference.maximise(user_interests, starts=2, enumerate=["z"])(jax.random.key(0), counts, 2)
    >>> fit.optima[0].values["centre"].shape
    (2, 3)
    """
    shape = jnp.shape(counts)
    if len(shape) != 2 or 0 in shape:
        raise LawfulError(f"user_interests: counts have shape {shape}; wanted a table (users, clusters).")
    if groups < 1:
        raise LawfulError(f"user_interests: groups is {groups}; wanted 1 or more.")
    weights = lawful.sample("weights", dist.Dirichlet(jnp.ones(groups)))
    with lawful.plate("group", groups):
        centre = lawful.sample("centre", dist.Dirichlet(jnp.full(shape[1], 2.0)))
        strength = lawful.sample("strength", dist.LogNormal(jnp.log(10.0), 1.0))
    with lawful.plate("user", shape[0]):
        z = lawful.sample("z", dist.Categorical(probs=weights))
        pseudo_counts = strength[z][..., None] * centre[z]
        lawful.sample("counts", dist.DirichletMultinomial(pseudo_counts, jnp.sum(counts, -1)), obs=counts)


def expected_shares(counts: Any, weights: Any, centre: Any, strength: Any) -> jax.Array:
    """Give the mean of each user's shares, given the counts and the groups.

    Args:
        counts: (users, clusters).
        weights: (G,), of the groups.
        centre: (G, clusters), their shares.
        strength: (G,), for how many events they count.

    Returns: (users, clusters), each row a distribution.

    >>> counts = jnp.array([[3, 0], [0, 0]])
    >>> expected_shares(counts, jnp.ones(1), jnp.array([[0.5, 0.5]]), jnp.array([1.0])).tolist()
    [[0.875, 0.125], [0.5, 0.5]]
    """
    counts, weights, centre, strength = map(jnp.asarray, (counts, weights, centre, strength))
    n = jnp.sum(counts, -1)
    pseudo_counts = strength[:, None] * centre
    log_counts = dist.DirichletMultinomial(pseudo_counts[:, None], n).log_prob(counts)
    chance = jax.nn.softmax(jnp.log(weights)[:, None] + log_counts, axis=0)
    given_group = (pseudo_counts[:, None] + counts) / (strength[:, None] + n)[..., None]
    return jnp.sum(chance[..., None] * given_group, 0)
