"""Hierarchies: groups, schools, persons and items, whose parameters have a common law.

Law: the two ways to write the schools denote one posterior; the evidence of an item response model at known items is a
product of one-dimensional integrals.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

import lawful

__all__ = ["SCHOOLS", "eight_schools", "eight_schools_noncentered", "item_response"]


SCHOOLS = (
    np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
    np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
)


def eight_schools(y: Any, sigma: Any) -> None:
    """Effects of eight schools with a common law (Rubin 1981; Gelman et al., Bayesian Data Analysis, section 5.5).

    mu ~ N(0, 5), tau ~ HalfCauchy(5), theta_j ~ N(mu, tau), y_j ~ N(theta_j, sigma_j).

    Args:
        y: (J,), the estimated effects.
        sigma: (J,), their standard errors.

    >>> from lawful import handlers
    >>> sorted(a[0] for a in handlers.trace(handlers.seed(eight_schools, jax.random.key(0)))(*SCHOOLS).choices)
    ['mu', 'tau', 'theta']
    """
    mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    tau = lawful.sample("tau", dist.HalfCauchy(5.0))
    with lawful.plate("school", len(y)):
        theta = lawful.sample("theta", dist.Normal(mu, tau))
        lawful.sample("y", dist.Normal(theta, sigma), obs=y)


def eight_schools_noncentered(y: Any, sigma: Any) -> None:
    """The same posterior by standardised effects z_j, theta_j = mu + tau z_j, which gradients follow better.

    Args:
        y: (J,), the estimated effects.
        sigma: (J,), their standard errors.

    Reference: Papaspiliopoulos, Roberts and Skold (2007), A general framework for the parametrization of hierarchical
    models.

    >>> from lawful import inference
    >>> result = inference.importance(eight_schools_noncentered, particles=100)(jax.random.key(0), *SCHOOLS)
    >>> result.posterior["theta"].shape
    (1, 100, 8)
    """
    mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    tau = lawful.sample("tau", dist.HalfCauchy(5.0))
    with lawful.plate("school", len(y)):
        z = lawful.sample("z", dist.Normal(0.0, 1.0))
        theta = lawful.deterministic("theta", mu + tau * z)
        lawful.sample("y", dist.Normal(theta, sigma), obs=y)


def item_response(answers: Any) -> jax.Array:
    """Abilities of persons and difficulties of items, by two parameters an item (2PL; Birnbaum 1968).

    P(person p solves item i) = logistic(a_i (theta_p - b_i)); theta ~ N(0, 1), log a ~ N(0, 1/2), b ~ N(0, 1).

    Args: answers: (persons, items), 1 = solved; an array of any content where `inference.predictive` draws it.

    Returns: (persons,), the abilities.

    >>> from lawful import inference
    >>> answers = inference.predictive(None, item_response, np.zeros((50, 6), int), draws=1)["answer"][0, 0]
    >>> answers.shape
    (50, 6)
    """
    persons, items = answers.shape
    with lawful.plate("item", items, dim=-1):
        discrimination = lawful.sample("discrimination", dist.LogNormal(0.0, 0.5))
        difficulty = lawful.sample("difficulty", dist.Normal(0.0, 1.0))
    with lawful.plate("person", persons, dim=-2):
        ability: jax.Array = lawful.sample("ability", dist.Normal(0.0, 1.0))
        with lawful.plate("item", items, dim=-1):
            logits = discrimination * (ability - difficulty)
            lawful.sample("answer", dist.Bernoulli(logits=logits), obs=answers)
    return ability[:, 0]
